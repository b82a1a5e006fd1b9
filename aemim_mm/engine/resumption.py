"""How a training is set up to be resumed, and from which checkpoint it goes on."""

import errno
import os
import os.path as osp
from numbers import Real

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoints.files import CHECKSUM, POINTER, damage, latest_intact
from ..errors import UserError
from .ranks import on_main

LOOPS = {'EpochBasedTrainLoop': 'ResumableEpochLoop', 'IterBasedTrainLoop': 'ResumableIterLoop'}
# Seconds. mmengine passes env_cfg.dist_cfg on, and torch waits half an hour by default.
TIMEOUT = 600
# Set by tools/torchrun.py: when this job began, in seconds since 1970.
JOB_STARTED = 'AEMIM_JOB_STARTED'
LOST = ('Connection closed by peer', 'Connection reset by peer', 'Timed out waiting', 'Broken pipe', 'NCCL')


def make_resumable(cfg: Config) -> None:
    """In any config, take the loops and the checkpoint hook with which nothing is lost, for mmengine's own.

    Other loops and hooks stay as they are; with ``exact_resume=False`` in the config, so do mmengine's.
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
    """Let processes wait no longer for one another than ``env_cfg.dist_cfg.timeout``, by default ten minutes."""
    settings = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    timeout = settings.get('timeout', TIMEOUT)
    if not isinstance(timeout, Real) or timeout <= 0:
        raise UserError(f'env_cfg.dist_cfg.timeout is in seconds, > 0, but got {timeout!r}.')
    cfg.merge_from_dict({'env_cfg.dist_cfg': {'backend': 'nccl', **settings, 'timeout': timeout}})


def wanted_resume(asked: str | None, work_dir: str) -> str | None:
    """What to resume: what the user asked for; but torchrun's restart of a job goes on from what that job saved."""
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) == 0:
        return asked
    pointer = osp.join(work_dir, POINTER)
    saved = osp.isfile(pointer) and osp.getmtime(pointer) >= float(os.environ.get(JOB_STARTED, 0))
    return 'auto' if saved else asked


def choose_checkpoint(runner: Runner, trusted=False) -> None:
    """Have the runner resume from an intact checkpoint, the same on all ranks.

    Raises:
        UserError: The one that the user named is damaged, or no other is intact.
    """
    if not runner._resume:
        return

    def choose():
        path = runner._load_from
        if path is None:
            return latest_intact(runner.work_dir, trusted=trusted)
        # Without a checksum, the file is read, and judged, where all that training starts from is.
        wrong = damage(path) if osp.isfile(f'{path}{CHECKSUM}') else None
        if wrong:
            raise UserError(f'The checkpoint {path} {wrong}. Take another one, or copy it again.')
        return path

    runner._load_from = on_main(choose)


def known_failure(error: Exception) -> str | None:
    """One line for what is neither the user's mistake nor a bug: a full disk, or another process that is gone."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'the disk is full: {error}. Checkpoints are as they were: make room, and go on with --resume.'
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and any(sign in str(error) for sign in LOST):
        reason = str(error).splitlines()[0]
        return (
            f'rank {os.environ["RANK"]}: another process ended, or did not answer within env_cfg.dist_cfg.timeout '
            f'({reason}). Go on with --resume.'
        )
    return None
