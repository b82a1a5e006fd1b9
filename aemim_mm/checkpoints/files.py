"""Files that are whole or absent, their checksums, and the latest intact checkpoint of a work directory."""

import hashlib
import logging
import os
import os.path as osp
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from glob import escape, glob

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..errors import UserError
from .downloads import file_hash
from .reading import RefusedError, read_checkpoint

CHECKSUM = '.sha256'
PART = '.part'
POINTER = 'last_checkpoint'
# A checkpoint and its number, such as epoch_3.pth.
NUMBERED = re.compile(r'(.*?)(\d+)\.pth')


def write_whole(path: str | os.PathLike, content: bytes, checksum: bool = False) -> None:
    """Write a file so that ``path`` always holds either the whole new content or the old content.

    The content goes to a temporary file beside ``path``, which is then renamed.

    Args:
        path: A local file. Missing folders are created.
        content: What to write.
        checksum: Also write ``path.sha256``, which ``sha256sum -c`` reads.

    Raises:
        UserError: The disk is full or fails. The temporary files are removed.
    """
    path = os.fspath(path)
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
        # An old checksum must not stand beside the new file. A file without a checksum is checked by reading it.
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
    # A rename is durable only after its folder is synchronized. Some network file systems refuse this, and do not need
    # it.
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
        f'{path} could not be saved: {error.strerror or error}. It needs {size / 1e6:.1f} MB, and {free}. Earlier '
        'files are unchanged. Make room, or choose another folder; a training can then go on with --resume.'
    )


def remove_parts(folder: str) -> None:
    """Remove the temporary files of checkpoints that a killed process has left."""
    for kind in ('.pth', CHECKSUM, POINTER):
        for path in glob(osp.join(escape(folder), f'*{kind}{PART}')):
            os.remove(path)


@register_backend('whole_files', force=True)  # pyright: ignore[reportOptionalCall]
class WholeFilesBackend(LocalBackend):
    """mmengine's local storage that writes whole files, each with a checksum."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write a file by :func:`write_whole`."""
        write_whole(str(filepath), obj, checksum=True)

    def remove(self, filepath: str | os.PathLike) -> None:
        """Remove a file and its checksum."""
        super().remove(str(filepath))
        with suppress(FileNotFoundError):
            os.remove(f'{filepath}{CHECKSUM}')


def damage(path: str, *, trusted: bool = False) -> str | None:
    """Describe the damage of a checkpoint.

    A file without a checksum, as other programs write it, is intact if it can be read.

    Args:
        path: A local file.
        trusted: As in ``read_checkpoint``.

    Returns:
        The end of a sentence that begins with the path; None if the file is intact.
    """
    if not osp.isfile(path):
        return 'is missing'
    if osp.isfile(path + CHECKSUM):
        expected = _text(path + CHECKSUM).split(' ')[0]
        return None if file_hash(path) == expected else f'is truncated or corrupt: it does not match {path}{CHECKSUM}'
    try:
        read_checkpoint(path, trusted=trusted)
    except RefusedError:
        return None  # The file is whole. It must not be skipped: the user has to decide whether to trust it.
    except UserError as error:
        return f'cannot be used: {error}'
    return None


def latest_intact(work_dir: str, out_dir: str | None = None, *, trusted: bool = False) -> str | None:
    """Find the checkpoint to resume from.

    This is the one that ``last_checkpoint`` names, in the run's own folders: a copied or moved work directory holds the
    path of its original. If it is damaged, or nothing names one, it is the one with the highest number that is intact.

    Args:
        work_dir: The work directory of a run.
        out_dir: Where the run saves checkpoints. Default: ``work_dir``.
        trusted: As in ``read_checkpoint``.

    Returns:
        A path; None if no checkpoint has been saved yet.

    Raises:
        UserError: There are checkpoints, but none is intact; or ``last_checkpoint`` names a file in another folder, and
            there is none here.
    """
    folder, named = out_dir or work_dir, ''
    if osp.isfile(osp.join(work_dir, POINTER)):
        named = _text(osp.join(work_dir, POINTER)).strip()
    latest = osp.join(folder, osp.basename(named)) if named else None
    if latest and not osp.isfile(latest) and osp.isfile(named) and not numbered(folder):
        raise UserError(
            f'{osp.join(work_dir, POINTER)} names {named}, which is not in {folder}, and no checkpoint is there. To '
            f'resume from that file: --resume {named}'
        )
    failures = []
    for path in _candidates(folder, latest, trusted):
        wrong = damage(path, trusted=trusted)
        if wrong is None:
            for failure in failures:
                print_log(f'{failure}. Going on from the one before, {path}', 'current', logging.WARNING)
            if not named:
                print_log(f'{work_dir} has no {POINTER}. Going on from {path}', 'current', logging.WARNING)
            return path
        failures.append(f'The checkpoint {path} {wrong}')
    if failures:
        raise UserError(
            f'No checkpoint of {work_dir} is intact. {". ".join(failures)}. Take a copy with --resume CHECKPOINT, or '
            'start again in another --work-dir.'
        )
    return None


def numbered(folder: str) -> dict[str, tuple[str, int]]:
    """Find the checkpoints of a folder that a run can resume from.

    Returns:
        Path to its kind and number, such as ``('epoch_', 3)``. Checkpoints of the best score hold no optimizer and are
        left out.
    """
    names = ((path, NUMBERED.fullmatch(osp.basename(path))) for path in glob(osp.join(escape(folder), '*.pth')))
    return {path: (name[1], int(name[2])) for path, name in names if name and not name[1].startswith('best_')}


def _candidates(folder: str, latest: str | None, trusted: bool) -> Iterator[str]:
    """Yield ``latest``, then the checkpoints before it, or all, newest first.

    Times say nothing: a clock may be set back.
    """
    if latest:
        yield latest
    found = numbered(folder)
    kind, number = _kind(latest)
    found = {path: each for path, each in found.items() if path != latest and (each[0] != kind or each[1] < number)}
    # Epochs and iterations, if SIGTERM has saved iter_N.pth between two epochs: only the files tell the order.
    mixed = len({each[0] for each in found.values()}) > 1
    yield from sorted(found, key=lambda path: _iteration(path, trusted) if mixed else found[path][1], reverse=True)


def _kind(path: str | None) -> tuple[str | None, int]:
    name = NUMBERED.fullmatch(osp.basename(path or ''))
    return (name[1], int(name[2])) if name else (None, 0)


def _iteration(path: str, trusted: bool) -> int:
    """Return the iteration of a checkpoint, and -1 for a file that cannot be read."""
    try:
        return int(read_checkpoint(path, trusted=trusted)['meta']['iter'])
    except (UserError, KeyError, TypeError, ValueError):
        return -1


def _text(path: str) -> str:
    """Read a small text file. What is not UTF-8 becomes a letter that no file name or checksum has."""
    with open(path, encoding='utf-8', errors='replace') as stream:
        return stream.read()
