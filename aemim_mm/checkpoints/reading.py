"""Read checkpoints without running code that a pickle may contain."""

import pickle
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from os import PathLike
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse

import torch
from mmengine import dist
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import UserError
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
    whole, _, name = str(path).partition('#')
    file = _local_file(whole)
    if not name or Path(path).is_file():  # '#' may also be a letter of the name.
        file, name = _local_file(str(path)), ''
    if not file.is_file():
        raise UserError(f'There is no checkpoint {path}.')
    try:
        checkpoint = load_file(file) if file.suffix == '.safetensors' else _load(file, trusted)
    # For other kinds of file, torch.load raises almost any exception.
    except Exception as error:
        raise _explained(path, error) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f'The checkpoint {path} holds a {type(checkpoint).__name__}. Expected a file by mmengine, or a dict of '
            'names and tensors.'
        )
    return select(checkpoint, name, whole) if name else checkpoint


def _load(file: Path, trusted: bool):
    if trusted:
        return torch.load(file, map_location='cpu', weights_only=False)
    # torch before 2.6 loads both kinds of file without restrictions, even with weights_only=True.
    if tarfile.is_tarfile(file) or _is_torchscript(file):
        raise pickle.UnpicklingError('GLOBAL a TorchScript or tar archive')
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


# How files begin that are often saved in place of a checkpoint.
NO_CHECKPOINT = {
    b'<!doctype html': 'a web page',
    b'<html': 'a web page',
    b'version https://git-lfs': 'a pointer of Git LFS, not the file (git lfs pull gets it)',
}
# The messages with which torch and RestrictedUnpickler refuse an object.
REFUSED = re.compile(r'GLOBAL (.+?)(?: was not| whose|\n|$)|(Trying to call|Can only (?:create|build) .*?)(?:\n|$)')


def _explained(path: str | PathLike, error: Exception) -> UserError:
    refused = isinstance(error, pickle.UnpicklingError) and REFUSED.search(str(error))
    if refused:
        return RefusedError(
            f'The checkpoint {path} needs code that is no part of a checkpoint: {refused[1] or refused[2]}. '
            f'It was not run. Take a file with weights alone. {ASK}'
        )
    if Path(path).is_file():
        with open(path, 'rb') as stream:
            begin = stream.read(64).lstrip().lower()
        for mark, what in NO_CHECKPOINT.items():
            if begin.startswith(mark):
                return UserError(f'The checkpoint {path} is {what}. Download the file itself.')
    kind = 'made by safetensors' if isinstance(error, SafetensorError) else 'made by torch.save'
    reason = (str(error).splitlines() or [''])[0]
    return UserError(
        f'The checkpoint {path} cannot be read ({type(error).__name__}: {reason}). Expected a whole file {kind}; take '
        'another one, or copy it again.'
    )


@contextmanager
def checkpoint_loading(trusted: bool = False) -> Iterator[None]:
    """Make mmengine read every checkpoint by :func:`read_checkpoint`: load_from, resume, and init_cfg=Pretrained.

    Loaders that other projects have registered are kept.

    Args:
        trusted: As in :func:`read_checkpoint`.
    """

    def load_from_file_or_url(filename, map_location=None):
        checkpoint = read_checkpoint(filename, trusted=trusted)
        # Some hooks expect the key that mmengine uses.
        return {**checkpoint, 'state_dict': weights_of(checkpoint, filename).state}

    before = CheckpointLoader._schemes
    own = [scheme for scheme, loader in before.items() if loader.__module__ == mmengine_checkpoint.__name__]
    CheckpointLoader._schemes = before.copy()
    CheckpointLoader.register_scheme(own, load_from_file_or_url, force=True)
    try:
        yield
    finally:
        CheckpointLoader._schemes = before


def _local_file(path: str) -> Path:
    scheme, _, name = path.rpartition('://')
    urls = {}
    if scheme in ('torchvision', 'modelzoo'):
        urls = mmengine_checkpoint.get_torchvision_models()
    elif scheme in ('openmmlab', 'open-mmlab'):
        urls = mmengine_checkpoint.get_external_models()
        name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
    elif scheme in ('http', 'https'):
        return _download(path)
    elif not scheme:
        return Path(path).expanduser()
    if name not in urls:
        raise UserError(
            f'The checkpoint {path} is no file, no http(s) URL and no known name. Download it, and pass the file.'
        )
    return _download(urls[name])


def _download(url: str) -> Path:
    """Download a URL into torch.hub's folder, by one process of each machine; return the file."""
    name = Path(urlparse(url).path).name or 'checkpoint'
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    # By torch.hub's convention, NAME-HASH.pth has the beginning of its SHA-256 in its name. Digits alone are a date.
    found = re.search(r'-([0-9a-f]{8,64})\.', name)
    hashed = found[1] if found and not found[1].isdecimal() else None
    # Many models have the same file name, such as model.safetensors.
    file = folder / f'{sha256(url.encode()).hexdigest()[:16]}-{name}'
    # A file that torch.hub has downloaded, or that the user has put there.
    if hashed and (folder / name).is_file() and file_hash(folder / name).startswith(hashed):
        file = folder / name
    failure = None
    if dist.get_local_rank() == 0 and not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=hashed, progress=sys.stderr.isatty())
        # URLError, an exception of http.client or ssl, or a full disk.
        except Exception as error:
            failure = error
            if isinstance(error, HTTPError):  # It holds an open response.
                error.close()
    dist.barrier()
    if not file.is_file():
        reason = f'{type(failure).__name__}: {failure}' if failure else 'see rank 0'
        raise UserError(
            f'The checkpoint {url} cannot be downloaded ({reason}). Download it by other means, and pass the file.'
        ) from failure
    return file


def file_hash(path: str | PathLike) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
