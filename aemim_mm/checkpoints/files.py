"""Files that are whole or absent: checkpoints with a checksum beside them, and the latest of them that is intact."""

import hashlib
import logging
import os
import os.path as osp
import shutil
from contextlib import suppress
from glob import escape, glob

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..errors import UserError
from .reading import RefusedError, read_checkpoint

CHECKSUM = '.sha256'
PART = '.part'
POINTER = 'last_checkpoint'


def write_whole(path: str, content: bytes, checksum: bool = False) -> None:
    """Write a file so that, whatever happens, ``path`` holds all of it or what it held before.

    Args:
        path: A local file; its folder is made if need be.
        content: What to write, first to a temporary file beside it.
        checksum: Also leave ``path.sha256``, as ``sha256sum -c`` reads it.

    Raises:
        UserError: The disk is full, or fails otherwise; nothing is left of the attempt.
    """
    parts = {path: content}
    if checksum:
        parts[path + CHECKSUM] = f'{hashlib.sha256(content).hexdigest()}  {osp.basename(path)}\n'.encode()
    try:
        os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
        for name, part in parts.items():
            with open(name + PART, 'wb') as stream:
                stream.write(part)
                stream.flush()
                os.fsync(stream.fileno())
        # An older checksum must not meet the new file: without one, the file is judged by reading it.
        with suppress(FileNotFoundError):
            os.remove(path + CHECKSUM)
        for name in parts:
            os.replace(name + PART, name)
        _sync_folder(osp.dirname(osp.abspath(path)))
    except OSError as error:
        raise _not_saved(path, len(content), error) from error
    finally:
        for name in parts:
            with suppress(OSError):
                os.remove(name + PART)


def _sync_folder(folder: str) -> None:
    # A rename lasts only when its folder is on the disk; some network file systems refuse, and need it not.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _not_saved(path: str, size: int, error: OSError) -> UserError:
    try:
        free = f'{shutil.disk_usage(osp.dirname(osp.abspath(path))).free / 1e6:.1f} MB are free'
    except OSError:
        free = 'its disk does not answer'
    return UserError(
        f'{path} could not be saved: {error.strerror or error}. It needs {size / 1e6:.1f} MB, and {free}. Older '
        'checkpoints are as they were: make room, or choose another --work-dir, and go on with --resume.'
    )


def remove_parts(folder: str) -> None:
    """Remove what a killed process left half written."""
    for kind in ('.pth', CHECKSUM, POINTER):
        for path in glob(osp.join(escape(folder), f'*{kind}{PART}')):
            os.remove(path)


@register_backend('whole_files', force=True)
class WholeFilesBackend(LocalBackend):
    """mmengine's local storage; what it puts is whole, with its checksum beside it, and both go together."""

    def put(self, obj, filepath) -> None:
        """Write bytes by :func:`write_whole`."""
        write_whole(str(filepath), obj, checksum=True)

    def remove(self, filepath) -> None:
        """Remove a file and its checksum."""
        super().remove(filepath)
        with suppress(FileNotFoundError):
            os.remove(f'{filepath}{CHECKSUM}')


def damage(path: str, *, trusted=False) -> str | None:
    """What is wrong with a checkpoint; None if it is intact.

    A file without a checksum, of another program, is intact if it can be read.
    """
    if not osp.isfile(path):
        return 'is missing'
    if osp.isfile(path + CHECKSUM):
        with open(path + CHECKSUM) as stream:
            expected = stream.read().split(' ')[0]
        return None if _sha256(path) == expected else f'is truncated or corrupt: it does not match {path}{CHECKSUM}'
    try:
        read_checkpoint(path, trusted=trusted)
    except RefusedError:
        return None  # Whole, but for the user to decide about, not to be passed over.
    except UserError as error:
        return f'cannot be used: {error}'
    return None


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def latest_intact(work_dir: str, *, trusted=False) -> str | None:
    """The checkpoint to go on from: the one that ``last_checkpoint`` names, or, if it is damaged, the one before it.

    Args:
        work_dir: The work directory of a run.
        trusted: As in ``read_checkpoint``.

    Returns:
        A path; None if no checkpoint was saved yet.

    Raises:
        UserError: There are checkpoints, but none is intact.
    """
    pointer = osp.join(work_dir, POINTER)
    if not osp.isfile(pointer):
        return None
    with open(pointer) as stream:
        named = stream.read().strip()
    # A work directory that was moved names its checkpoints by their old place.
    latest = named if osp.isfile(named) else osp.join(work_dir, osp.basename(named))
    failures = []
    for path in [latest, *_before(latest)]:
        wrong = damage(path, trusted=trusted)
        if wrong is None:
            for failure in failures:
                print_log(f'{failure}. Going on from the one before, {path}', 'current', logging.WARNING)
            return path
        failures.append(f'The checkpoint {path} {wrong}')
    raise UserError(
        f'No checkpoint of {work_dir} is intact. {". ".join(failures)}. Take a copy with --resume CHECKPOINT, or start '
        'again in another --work-dir.'
    )


def _before(latest: str):
    """Checkpoints beside this one, the newest first; not those of the best score, which hold no optimizer."""
    paths = glob(osp.join(escape(osp.dirname(latest)), '*.pth'))
    names = (path for path in paths if path != latest and not osp.basename(path).startswith('best_'))
    return sorted(names, key=os.path.getmtime, reverse=True)
