"""One training at a time in a work directory."""

import logging
import os
import os.path as osp
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mmengine.logging import print_log

from ..checkpoints.files import numbered
from ..errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.lock'
# A file that says that the job that torchrun has started here has saved a checkpoint. Restarts keep it.
SAVED_BY_JOB = '.saved_by_job'
# Which environment variable holds the rank, by launcher.
RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
# A job that is told to stop still saves while the next one starts.
PATIENCE = 30.0


def usable(folder: str | os.PathLike) -> None:
    """Make a folder for results if it is missing.

    Raises:
        UserError: It cannot be made or written to, or is a file.
    """
    folder = os.fspath(folder)
    shown = folder if len(folder) < 200 else f'{folder[:200]}...'
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UserError(f'Cannot write to {shown}: {error.strerror}. Choose another folder.') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f'Cannot write to {shown}: Permission denied. Choose another folder.')


def is_restart() -> bool:
    """Return whether torchrun has restarted this job."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0


@contextmanager
def held(work_dir: str, launcher: str = 'none') -> Iterator[None]:
    """Hold a work directory, so that no other training uses it.

    The first process of a job locks ``.lock`` in the folder (POSIX ``fcntl`` lock). The system frees the lock when the
    process ends, however it ends. It holds among machines if the shared disk supports such locks, as NFS and Lustre
    (mounted with ``flock``) do; on a disk without locks, a warning says so. Windows has no such locks.

    Args:
        work_dir: Created if it is missing.
        launcher: What started the processes, which tells the rank.

    Raises:
        UserError: The folder cannot be written to, or another training has held it for half a minute.
    """
    usable(work_dir)
    if int(os.environ.get(RANKS.get(launcher, ''), 0)):
        yield
        return
    path = osp.join(work_dir, LOCK)
    try:
        stream = open(path, 'a+', encoding='utf-8', errors='replace')  # noqa: SIM115
    except OSError as error:
        raise UserError(f'Cannot write to {path}: {error.strerror}. Choose another --work-dir.') from error
    with stream:
        if fcntl is not None:
            _lock(stream, work_dir)
        if not is_restart():
            with suppress(FileNotFoundError):
                os.remove(osp.join(work_dir, SAVED_BY_JOB))
        stream.truncate(0)
        stream.write(f'pid {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}')
        stream.flush()
        yield


def _lock(stream, work_dir: str) -> None:
    end = time.monotonic() + PATIENCE
    assert fcntl is not None  # checked by held()
    while True:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() > end:
                stream.seek(0)
                raise UserError(
                    f'Another training uses the work dir {work_dir} ({stream.read().strip()}). Wait for its end, or '
                    'choose another --work-dir.'
                ) from error
            time.sleep(min(1.0, PATIENCE / 10))
        except OSError as error:
            print_log(
                f'The disk of {work_dir} has no file locks ({error.strerror}), so nothing prevents a second training.',
                'current',
                logging.WARNING,
            )
            return


def in_use(work_dir: str | os.PathLike) -> bool | None:
    """Return whether a training of another process holds a work directory; None if that cannot be known.

    It cannot without a lock file, or where there are no locks. Do not call it in the process of the training: whenever
    a process closes a file, it loses its locks on that file.
    """
    if fcntl is None:
        return None
    try:
        stream = open(osp.join(work_dir, LOCK), 'rb')  # noqa: SIM115
    except OSError:
        return None
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return None
    return False


def warn_of_earlier_run(work_dir: str) -> None:
    """Warn that a training from the start will overwrite the checkpoints of an earlier one."""
    found = numbered(work_dir)
    if found:
        newest = max(found, key=lambda path: found[path][1])
        print_log(
            f'{work_dir} has checkpoints of an earlier run, such as {osp.basename(newest)}. This run starts anew and '
            'overwrites them. To go on from them instead, stop it and use --resume.',
            'current',
            logging.WARNING,
        )
