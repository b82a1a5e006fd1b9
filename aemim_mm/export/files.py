"""Write files whole or not at all, and never over another unless asked."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..errors import UserError


@contextmanager
def _replacing(path: Path):
    """A temporary file beside ``path``, which takes its place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    os.close(handle)
    try:
        yield temporary
        # mkstemp's files are for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def refuse_overwriting(paths, force: bool) -> None:
    """Fail before any work where a file is there already.

    Raises:
        UserError: Names the file.
    """
    there = next((path for path in paths if path.exists()), None)
    if there and there.is_dir():
        raise UserError(f'{there} is a folder. Choose the name of a file with --out.')
    if there and not force:
        raise UserError(f'{there} is there already. Choose another name with --out, or write over it with --force.')


def write_weights(path: Path, state: dict, key: str | None, metadata: dict) -> None:
    """Write tensors, and what is to be known of them.

    Args:
        path: ``.safetensors``, or ``.pth`` for torch.save.
        state: Names and tensors.
        key: In a ``.pth`` file, where the library in question looks for the tensors; None: at the top.
        metadata: Plain values: in the header of safetensors, and in ``meta`` beside ``key``.
    """
    # Tensors may share memory, which safetensors refuses, or be views of larger ones, which torch.save writes whole.
    state = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    with _replacing(path) as temporary:
        if path.suffix == '.safetensors':
            save_file(state, temporary, metadata={'format': 'pt', **{k: json.dumps(v) for k, v in metadata.items()}})
        else:
            torch.save({key: state, 'meta': metadata} if key else state, temporary)


def write_json(path: Path, content: dict) -> None:
    """Write indented JSON."""
    with _replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
