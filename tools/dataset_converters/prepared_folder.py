"""Folders that the converters write: whole or absent, and with a checksum of their content."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from PIL import Image


def fail(message: str) -> NoReturn:
    """End the script with one line that says what is wrong."""
    sys.exit(f'error: {message}')


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``out``, and rename it to ``out`` at the end.

    A run that fails leaves nothing, and one that is killed only a folder that the next run removes.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        fail(f'{out} is there already. Remove it, or name another folder.')
    part = out.with_name(f'{out.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part)
        raise
    if out.exists():
        out.rmdir()
    part.rename(out)


def checksum(folder: Path) -> str:
    """Return the SHA-256 of the names and the content of all files in a folder.

    The content of an image is its pixels, because the bytes of a PNG depend on the version of zlib.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*'), key=Path.as_posix):
        if path.is_file():
            content = hashlib.sha256(_content(path)).hexdigest()
            digest.update(f'{content}  {path.relative_to(folder).as_posix()}\n'.encode())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    if path.suffix != '.png':
        return path.read_bytes()
    with Image.open(path) as image:
        return f'{image.mode} {image.size}'.encode() + image.tobytes()


def compare(folder: Path, expected: str | None, source: str) -> None:
    """Print the checksum of a folder. End the script with an error if it is not the expected one.

    Args:
        folder: The folder. It stays, so that other data can be used.
        expected: The expected checksum. Default: none, so that nothing is compared.
        source: What has the expected data.
    """
    found = checksum(folder)
    print(f'{folder}: checksum {found}')
    if expected and found != expected:
        fail(
            f'{folder} is complete, but its checksum is not {expected}: the source has changed. The figures of this '
            f'project are of {source}. Take that, or do not compare with these figures.'
        )
