"""How a training is prepared for resumption, and which checkpoint it resumes from."""

import errno
import os
import os.path as osp
from numbers import Real

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..checkpoints.files import CHECKSUM, damage, latest_intact
from ..errors import UserError
from .ranks import TIMEOUT, on_main
from .work_dir import SAVED_BY_JOB, is_restart, warn_of_earlier_run

LOOPS = {'EpochBasedTrainLoop': 'ResumableEpochLoop', 'IterBasedTrainLoop': 'ResumableIterLoop'}
# Parts of the error messages of torch.distributed for a lost process.
LOST = ('Connection closed by peer', 'Connection reset by peer', 'Timed out waiting', 'Broken pipe', 'NCCL')
# gloo's message if another operation on the same connection has found the timeout first.
LOST += ('Application timeout caused pair closure',)


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
    env = cfg.get('env_cfg') or {}
    settings = env.get('dist_cfg') or {}
    timeout = settings.get('timeout', TIMEOUT)
    if not isinstance(timeout, Real) or timeout <= 0:
        raise UserError(f'env_cfg.dist_cfg.timeout is in seconds, > 0, but got {timeout!r}.')
    cfg.env_cfg = {**env, 'dist_cfg': {'backend': 'nccl', **settings, 'timeout': timeout}}


def choose_checkpoint(runner: Runner, trusted: bool = False) -> None:
    """Set the intact checkpoint that the runner resumes from, the same on all ranks.

    After a restart by torchrun, this is the latest one of this job, if it has saved any.

    Raises:
        UserError: The checkpoint that the user named is damaged, or no checkpoint of the work directory is intact.
    """

    def choose():
        if is_restart() and osp.isfile(osp.join(runner.work_dir, SAVED_BY_JOB)):
            return True, latest_intact(runner.work_dir, _out_dir(runner), trusted=trusted)
        path = runner._load_from
        if not runner._resume:
            warn_of_earlier_run(_out_dir(runner))
            return False, path
        if path is None:
            return True, latest_intact(runner.work_dir, _out_dir(runner), trusted=trusted)
        # A file without a checksum is checked later, when it is read.
        wrong = damage(path) if osp.isfile(f'{path}{CHECKSUM}') else None
        if wrong:
            raise UserError(f'The checkpoint {path} {wrong}. Take another one, or copy it again.')
        return True, path

    runner._resume, runner._load_from = on_main(choose)
    if runner._load_from is None:
        # mmengine would look for last_checkpoint once more.
        runner._resume = False


def _out_dir(runner: Runner) -> str:
    """Where the runner's checkpoint hook saves: the work directory, or a folder of its name in ``out_dir``."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    out_dir = getattr(hook, 'out_dir', None)
    return osp.join(out_dir, osp.basename(runner.work_dir.rstrip(osp.sep))) if out_dir else runner.work_dir


def known_failure(error: Exception) -> tuple[str, int] | None:
    """Return the message and the exit code for a full disk or a lost process; None for other errors."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'the disk is full: {error}. Checkpoints are unchanged: make room, and go on with --resume.', 2
    if int(os.environ.get('WORLD_SIZE', 1)) > 1 and any(sign in str(error) for sign in LOST):
        reason = str(error).splitlines()[0]
        message = (
            f'rank {os.environ["RANK"]}: another process ended, or did not answer within env_cfg.dist_cfg.timeout '
            f'({reason}). Go on with --resume.'
        )
        return message, 1
    return None
