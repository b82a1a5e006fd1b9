"""Read checkpoints without running code that a pickle may contain."""

import pickle
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import UserError
from .downloads import local_file, no_checkpoint
from .unpickling import RESTRICTED_PICKLE, allowed_globals, number_types
from .weights import select, weights_of

ASK = 'Pass --trust-checkpoint only if you trust where the file comes from: it runs whatever code the file contains.'


class RefusedError(UserError):
    """A checkpoint needs code that is not allowed, see :func:`aemim_mm.checkpoints.unpickling.allowed_globals`."""


def read_checkpoint(path: str | PathLike, *, trusted: bool = False) -> dict:
    """Read a checkpoint to the CPU.

    Args:
        path: A file made by ``torch.save``, or a ``.safetensors`` file: its path, its http(s) URL, or a name such as
            ``torchvision://resnet50``. Downloads are kept in torch.hub's folder. ``FILE#NAME`` is one of several sets
            of weights in a file, such as ``dino.pth#teacher``.
        trusted: Load everything that the file contains, and run the code in it.

    Returns:
        The content: a dict with ``state_dict`` (mmengine), a dict of another project, or names and tensors.

    Raises:
        UserError: The file does not exist or is no whole checkpoint.
        RefusedError: The file needs code that is not allowed. This is a UserError.
    """
    whole, name = split_name(path)
    file = local_file(whole)
    what = no_checkpoint(file)
    if what:
        cached = f', and remove {file}' if '://' in whole else ''
        raise UserError(f'{what.format(file=whole)}{cached}.')
    try:
        checkpoint = load_file(file) if _is_safetensors(file) else _load(file, trusted)
    except UserError:
        raise
    # For other kinds of file, torch.load raises almost any exception.
    except Exception as error:
        raise _explained(whole, file, error) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f'The checkpoint {path} holds a {type(checkpoint).__name__}. Expected a file by mmengine, or a dict of '
            'names and tensors.'
        )
    return select(checkpoint, name, whole) if name else checkpoint


def split_name(path: str | PathLike) -> tuple[str, str]:
    """Split ``FILE#NAME`` into the file and the name of a set of weights; the name is '' for a file alone."""
    path = str(path)
    file, _, name = path.rpartition('#')
    # '#' may also be a letter of the file's name.
    return (path, '') if not file or not name or Path(path).expanduser().exists() else (file, name)


def _is_safetensors(file: Path) -> bool:
    with open(file, 'rb') as stream:
        head = stream.read(9)
    # The length of the header, and the header, which is JSON.
    return file.suffix == '.safetensors' or (head[8:] == b'{' and int.from_bytes(head[:8], 'little') < 1 << 30)


def _load(file: Path, trusted: bool):
    # torch before 2.6 loads both kinds of file without restrictions, even with weights_only=True.
    if _is_torchscript(file):
        raise UserError(
            f'The checkpoint {file} is a TorchScript archive, which is a program. Save the weights alone: '
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
        )
    if trusted:
        return torch.load(file, map_location='cpu', weights_only=False)
    if tarfile.is_tarfile(file):
        raise pickle.UnpicklingError('GLOBAL a tar archive')
    if torch.__version__ >= (2, 6):  # pyright: ignore[reportOperatorIssue]
        allowed = [(value, name) for name, value in allowed_globals().items()]
        with torch.serialization.safe_globals([*allowed, *number_types()]):
            return torch.load(file, map_location='cpu', weights_only=True)
    return torch.load(file, map_location='cpu', pickle_module=RESTRICTED_PICKLE)


def _is_torchscript(file: Path) -> bool:
    # Use torch's own reader: Python's zipfile may find other content in the same bytes.
    with open(file, 'rb') as stream:
        if not torch.serialization._is_zipfile(stream):
            return False
    return 'constants.pkl' in torch._C.PyTorchFileReader(str(file)).get_all_records()


# The beginning of torch's message for any other file; advice for its own users follows.
ADVICE = 'Weights only load failed'
# The messages with which torch and RestrictedUnpickler refuse an object.
REFUSED = re.compile(r'GLOBAL (.+?)(?: was not| whose|\n|$)|(Trying to call|Can only (?:create|build) .*?)(?:\n|$)')


def _explained(path: str, file: Path, error: Exception) -> UserError:
    refused = isinstance(error, pickle.UnpicklingError) and REFUSED.search(str(error))
    if refused:
        return RefusedError(
            f'The checkpoint {path} needs code that is no part of a checkpoint: {refused[1] or refused[2]}. '
            f'It was not run. Take a file with weights alone. {ASK}'
        )
    kind = 'made by safetensors' if isinstance(error, SafetensorError) else 'made by torch.save'
    reason = (str(error).splitlines() or [''])[0]
    reason = 'it is no pickle of tensors' if reason.startswith(ADVICE) else reason
    again = f'remove {file} and download it again' if '://' in path else 'copy it again'
    return UserError(
        f'The checkpoint {path} cannot be read ({type(error).__name__}: {reason}). Expected a whole file {kind}; take '
        f'another one, or {again}.'
    )


@contextmanager
def checkpoint_loading(trusted: bool = False) -> Iterator[None]:
    """Make mmengine read every checkpoint by ``read_checkpoint``: load_from, resume, and init_cfg=Pretrained.

    Loaders that other projects have registered are kept.

    Args:
        trusted: As in ``read_checkpoint``.
    """

    def load_from_file_or_url(filename, map_location=None):
        checkpoint = read_checkpoint(filename, trusted=trusted)
        # Some hooks expect the key that mmengine uses. check_checkpoint has read the same weights.
        return {**checkpoint, 'state_dict': weights_of(checkpoint, filename).state}

    before = CheckpointLoader._schemes
    own = [scheme for scheme, loader in before.items() if loader.__module__ == mmengine_checkpoint.__name__]
    CheckpointLoader._schemes = before.copy()
    CheckpointLoader.register_scheme(own, load_from_file_or_url, force=True)
    try:
        yield
    finally:
        CheckpointLoader._schemes = before
