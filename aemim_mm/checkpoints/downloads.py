"""Find the local file of a checkpoint; download it if it is a URL. Say what a file is that is no checkpoint."""

import re
import sys
from hashlib import sha256
from os import PathLike
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse

import torch
from mmengine import dist
from mmengine.runner import checkpoint as mmengine_checkpoint

from ..errors import UserError

# How files begin that are often saved in place of a checkpoint.
BEGINNINGS = {
    b'<!doctype html': 'is a web page. Download the file itself',
    b'<html': 'is a web page. Download the file itself',
    b'<?xml': "is an XML document, perhaps a server's error. Download the file itself",
    b'version https://git-lfs': 'is a pointer of Git LFS, not the file. Get the file with git lfs pull',
    b'{': 'is a JSON file, such as the index of weights in several files. Save the model in one file',
}
# What folders hold that other programs write in place of one file.
FOLDERS = {
    '.metadata': "a distributed checkpoint of torch. Convert it with 'python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE', and pass the file",
    '*.index.json': 'weights in several files. Save the model in one file, with a larger max_shard_size',
    '*.pth': 'checkpoints. Pass one of them',
}


def no_checkpoint(file: Path) -> str | None:
    """Say why a path is no checkpoint.

    Returns:
        A sentence without a full stop, with ``{file}`` for the path; None if the file may be a checkpoint.
    """
    if file.is_dir():
        found = (what for pattern, what in FOLDERS.items() if any(file.glob(pattern)))
        what = next(found, 'other things. Pass a file')
        return f'The checkpoint {{file}} is a folder of {what}'
    if not file.is_file():
        return 'There is no checkpoint {file}'
    with open(file, 'rb') as stream:
        begin = stream.read(64)
    # A text has no zero bytes.
    begin = b'' if b'\0' in begin else begin.lstrip().lower()
    what = next((what for mark, what in BEGINNINGS.items() if begin.startswith(mark)), None)
    if not file.stat().st_size:
        what = 'is empty. Expected a whole file made by torch.save; take another one, or copy it again'
    return f'The checkpoint {{file}} {what}' if what else None


def local_file(path: str) -> Path:
    """Return the file of a path, a URL or a name that mmengine knows; the file of a path may be missing.

    Raises:
        UserError: The name is unknown, or the download fails.
    """
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
