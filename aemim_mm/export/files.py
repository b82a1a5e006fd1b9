"""Write the files of an export, but never over an existing file unless asked."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save

from ..checkpoints.files import write_whole
from ..errors import UserError


def refuse_overwriting(paths: Iterable[Path], force: bool) -> None:
    """Check that the files may be written.

    Raises:
        UserError: A path is a folder, or a file that exists and may not be replaced.
    """
    there = next((path for path in paths if path.exists()), None)
    if there and there.is_dir():
        raise UserError(f'{there} is a folder. Choose the name of a file with --out.')
    if there and not force:
        raise UserError(f'{there} is there already. Choose another name with --out, or write over it with --force.')


def write_weights(path: Path, state: dict, key: str | None, metadata: dict) -> None:
    """Write tensors and metadata.

    Args:
        path: A ``.safetensors`` file, or a ``.pth`` file of ``torch.save``.
        state: Names and tensors.
        key: The key under which a ``.pth`` file holds the tensors. None: the file holds the tensors alone.
        metadata: Plain values for the header of safetensors, or for ``meta`` beside ``key``.
    """
    # safetensors refuses tensors that share memory. torch.save writes all the memory behind a view.
    state = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    if path.suffix == '.safetensors':
        content = save(state, {'format': 'pt', **{name: json.dumps(value) for name, value in metadata.items()}})
    else:
        stream = io.BytesIO()
        torch.save({key: state, 'meta': metadata} if key else state, stream)
        content = stream.getvalue()
    write_whole(path, content)


def write_json(path: Path, content: dict) -> None:
    """Write indented JSON."""
    write_whole(path, f'{json.dumps(content, indent=2)}\n'.encode())
