"""How a training is prepared for resumption, and which checkpoint it resumes from."""

import errno
import os
import os.path as osp
from numbers import Real

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoints.files import CHECKSUM, POINTER, damage, latest_intact
from ..errors import UserError
from .ranks import TIMEOUT, on_main

LOOPS = {'EpochBasedTrainLoop': 'ResumableEpochLoop', 'IterBasedTrainLoop': 'ResumableIterLoop'}
# tools/torchrun.py sets this environment variable to the start time of the job, in seconds since 1970.
JOB_STARTED = 'AEMIM_JOB_STARTED'
# Parts of the error messages of torch.distributed for a lost process.
LOST = ('Connection closed by peer', 'Connection reset by peer', 'Timed out waiting', 'Broken pipe', 'NCCL')


def make_resumable(cfg: Config) -> None:
    """Replace mmengine's loops and checkpoint hook by those that resume exactly, in place.

    Other loops and hooks are kept. With ``exact_resume=False`` in the config, nothing is replaced.
    """
    if not cfg.get('exact_resume', True):
        return
    loop = cfg.get('train_cfg')
    if loop is not None:
        by_epoch = loop.pop('by_epoch', True) if 'type' not in loop else None
        kind = loop.get('type', 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop')
        loop.type = LOOPS.get(kind, kind)
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if hook and hook.get('type') == 'CheckpointHook':
        hook.type = 'SafeCheckpointHook'


def set_timeout(cfg: Config) -> None:
    """Complete ``env_cfg.dist_cfg`` with the backend and the timeout, by default ten minutes.

    Raises:
        UserError: The timeout is no number > 0.
    """
    settings = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    timeout = settings.get('timeout', TIMEOUT)
    if not isinstance(timeout, Real) or timeout <= 0:
        raise UserError(f'env_cfg.dist_cfg.timeout is in seconds, > 0, but got {timeout!r}.')
    cfg.merge_from_dict({'env_cfg.dist_cfg': {'backend': 'nccl', **settings, 'timeout': timeout}})


def wanted_resume(asked: str | None, work_dir: str) -> str | None:
    """Choose what to resume.

    Args:
        asked: What the user asked for: a path, ``'auto'`` or None.
        work_dir: The work directory of the run.

    Returns:
        ``'auto'`` if torchrun has restarted this job and the job has saved a checkpoint; otherwise ``asked``.
    """
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) == 0:
        return asked
    pointer = osp.join(work_dir, POINTER)
    saved = osp.isfile(pointer) and osp.getmtime(pointer) >= float(os.environ.get(JOB_STARTED, 0))
    return 'auto' if saved else asked


def choose_checkpoint(runner: Runner, trusted: bool = False) -> None:
    """Set the intact checkpoint that the runner resumes from, the same on all ranks.

    Raises:
        UserError: The checkpoint that the user named is damaged, or no checkpoint of the work directory is intact.
    """
    if not runner._resume:
        return

    def choose():
        path = runner._load_from
        if path is None:
            return latest_intact(runner.work_dir, trusted=trusted)
        # A file without a checksum is checked later, when it is read.
        wrong = damage(path) if osp.isfile(f'{path}{CHECKSUM}') else None
        if wrong:
            raise UserError(f'The checkpoint {path} {wrong}. Take another one, or copy it again.')
        return path

    runner._load_from = on_main(choose)


def known_failure(error: Exception) -> str | None:
    """Return a message for a full disk or a lost process, which are no bugs; None for other errors."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'the disk is full: {error}. Checkpoints are unchanged: make room, and go on with --resume.'
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and any(sign in str(error) for sign in LOST):
        reason = str(error).splitlines()[0]
        return (
            f'rank {os.environ["RANK"]}: another process ended, or did not answer within env_cfg.dist_cfg.timeout '
            f'({reason}). Go on with --resume.'
        )
    return None
