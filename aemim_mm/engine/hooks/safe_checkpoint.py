"""Checkpoints that are written whole, that are resumed exactly, and that are saved at SIGTERM."""

import logging
import os
import os.path as osp
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from mmengine import dist
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import FlexibleRunner, Runner

from ...checkpoints.files import POINTER, WholeFilesBackend, remove_parts, write_whole
from ...errors import UserError
from ..param_groups import regroup
from ..ranks import TIMEOUT, StopSignal, on_main
from ..sharding import FLEXIBLE, drop_second_copy, gathered_state, refusal
from ..work_dir import SAVED_BY_JOB

# EX_TEMPFAIL of sysexits.h: try again later.
PREEMPTED = 75
# tools/torchrun.py sets this environment variable to a path. A job that has saved after SIGTERM creates this file.
SAVED_FILE = 'AEMIM_SAVED_FILE'


class _DeferredRemoval(WholeFilesBackend):
    """Storage that keeps the files that it is told to remove, and lists them in ``to_remove``."""

    def __init__(self):
        self.to_remove = []

    def remove(self, filepath: str) -> None:
        """List the file."""
        self.to_remove.append(filepath)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` that writes whole files, resumes exactly and saves at SIGTERM.

    - A checkpoint file appears only when it is complete. Its SHA-256 is in ``<file>.sha256``. The hook then writes
      ``last_checkpoint`` and removes older checkpoints. If the disk is full, the older checkpoints stay and training
      ends with an error.
    - A checkpoint holds its position in the epoch. With ``ResumableEpochLoop`` or ``ResumableIterLoop``, a resumed
      training ends with the same weights as a training without a break.
    - At SIGTERM, all ranks finish the iteration and the next one, save ``iter_N.pth``, and exit with code 75. They
      complete a gradient accumulation first.

    This holds for checkpoints on a local or mounted disk. With ``backend_args``, it depends on that storage.

    Args:
        **kwargs: Arguments of ``CheckpointHook``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stop = StopSignal()
        self._stopping = False
        self._optimizer = None  # The collected state of a sharded optimizer, while a checkpoint is saved.

    def before_train(self, runner: Runner) -> None:
        """Choose the storage, remove incomplete files and listen to SIGTERM."""
        if isinstance(runner, FlexibleRunner):
            raise refusal('FlexibleRunner', FLEXIBLE)
        local = isinstance(get_file_backend(self.out_dir or runner.work_dir), LocalBackend)
        self.whole = local and self.backend_args is None and self.file_client_args is None
        if self.whole:
            self.backend_args = dict(backend='whole_files')
        super().before_train(runner)
        if self.whole and dist.is_main_process():
            remove_parts(self.out_dir)
            remove_parts(runner.work_dir)
        timeout = runner.cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', TIMEOUT)
        self.stop.open(timeout)
        drop_second_copy(cast(OptimWrapper, runner.optim_wrapper))

    def after_train(self, runner: Runner) -> None:
        """Stop listening to SIGTERM."""
        self.stop.close()
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the position in the epoch and the seed of the data's order."""
        if self._optimizer is not None:
            checkpoint['optimizer'] = self._optimizer
        loop, meta = cast(Any, runner.train_loop), checkpoint['meta']
        if hasattr(loop, 'batches'):
            checkpoint['position'] = dict(
                # At the end of an epoch, mmengine already counts the next one.
                batch=loop.done if meta['epoch'] == runner.epoch else 0,
                batches=len(loop.batches),
                sampler_seed=getattr(loop.batches.sampler, 'seed', None),
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """If training is resumed, set the loop to the position of the checkpoint, and fit its parameter groups."""
        position, loop = checkpoint.get('position'), cast(Any, runner.train_loop)
        if runner._resume:
            regroup(checkpoint, runner.optim_wrapper)
        if not (runner._resume and position and hasattr(loop, 'batches')):
            return
        batches = len(loop.batches)
        if batches != position['batches']:
            change = (
                f'The checkpoint was made with {position["batches"]} batches an epoch on each rank, but now there are '
                f'{batches}'
            )
            if position['batch']:
                raise UserError(
                    f'{change}. It was made inside an epoch, so it needs the same data, batch size and number of '
                    'processes; or resume from the end of an epoch, with --resume WORK_DIR/epoch_N.pth.'
                )
            print_log(
                f'{change}: training goes on, but differs from a training without a break.', 'current', logging.WARNING
            )
        loop.done = position['batch']
        if position['sampler_seed'] is not None:
            # Without a seed in the config, each start draws another seed.
            loop.batches.sampler.seed = position['sampler_seed']

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save where the interval asks for it; after SIGTERM, save and exit."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._stopping = self._stopping or self.stop.agreed()
        if self._stopping and not _accumulating(runner):
            self._save_and_exit(runner)

    def _save_and_exit(self, runner: Runner) -> None:
        iteration = runner.iter + 1
        name = f'iter_{iteration}.pth'
        before = runner.message_hub.pop_info('stopped_at', None)
        runner.message_hub.update_info('stopped_at', name)
        self._save(runner, name, dict(epoch=runner.epoch, iter=iteration), by_epoch=False)
        if self.max_keep_ckpts > 0 and before not in (None, name) and dist.is_main_process():
            self._remove([self.file_backend.join_path(self.out_dir, before)])
        print_log(
            f'SIGTERM: saved {osp.join(self.out_dir, name)}; exit code {PREEMPTED}. Go on with --resume.', 'current'
        )
        if dist.is_main_process() and os.environ.get(SAVED_FILE):
            Path(os.environ[SAVED_FILE]).touch()
        raise SystemExit(PREEMPTED)

    def _save_checkpoint_with_step(self, runner, step, meta):
        if _accumulating(runner):
            print_log(
                'This checkpoint lies within a gradient accumulation and does not hold the gradients so far. To resume '
                'exactly, let accumulative_counts divide the number of iterations between checkpoints.',
                'current',
                logging.WARNING,
            )
        name, retired = self.filename_tmpl.format(step), []
        stopped_at = runner.message_hub.pop_info('stopped_at', None)
        if self.max_keep_ckpts > 0:
            steps = [kept for kept in self.keep_ckpt_ids if kept != step]
            while len(steps) >= self.max_keep_ckpts:
                retired.append(self.filename_tmpl.format(steps.pop(0)))
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend([*steps, step])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
            if stopped_at not in (None, name):
                retired.append(stopped_at)
        self._save(runner, name, meta, by_epoch=self.by_epoch)
        if dist.is_main_process():
            self._remove(self.file_backend.join_path(self.out_dir, old) for old in retired)

    def _save(self, runner, name, meta, by_epoch) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        # All ranks take part in collecting the state; the first one writes it.
        self._optimizer = gathered_state(runner.optim_wrapper) if self.save_optimizer else None

        def save():
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer and self._optimizer is None,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            write_whole(osp.join(runner.work_dir, POINTER), str(self.last_ckpt).encode())
            if 'TORCHELASTIC_RESTART_COUNT' in os.environ:
                Path(runner.work_dir, SAVED_BY_JOB).touch()

        try:
            on_main(save)
        finally:
            self._optimizer = None

    def _save_best_checkpoint(self, runner, metrics) -> None:
        # mmengine saves the best checkpoint on the first rank alone, and then all ranks save the latest one again. All
        # ranks have to learn of a failure before that.
        failure, last, before = None, self.last_ckpt, _best_scores(runner)

        def raise_it():
            if failure:
                raise failure

        with self._removing_afterwards():
            self.last_ckpt = None
            try:
                super()._save_best_checkpoint(runner, metrics)
            except UserError as error:
                failure = error
            finally:
                self.last_ckpt = last
            on_main(raise_it)
            if last is not None and _best_scores(runner) != before:
                step = runner.epoch if self.by_epoch else runner.iter
                self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))

    @contextmanager
    def _removing_afterwards(self):
        """Defer the removal of the old best checkpoint, which mmengine removes first, until the new one is saved."""
        if not self.whole:
            yield
            return
        before, self.file_backend = self.file_backend, _DeferredRemoval()
        try:
            yield
            to_remove = self.file_backend.to_remove
        finally:
            self.file_backend = before
        self._remove(path for path in to_remove if path != getattr(self, 'best_ckpt_path', None))

    def _remove(self, paths) -> None:
        for path in paths:
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):
                # Checkpoints of DeepSpeed are folders.
                self.file_backend.rmtree(path)


def _best_scores(runner) -> dict:
    return {name: value for name, value in runner.message_hub.runtime_info.items() if name.startswith('best_score')}


def _accumulating(runner) -> bool:
    """Whether the optimizer still accumulates gradients, which a checkpoint does not hold."""
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, OptimWrapper) and not wrapper.should_update()
