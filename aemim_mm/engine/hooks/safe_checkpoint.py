"""Checkpoints that are never lost: written whole, resumed exactly, saved before a cluster takes the machine away."""

import logging
import os
import os.path as osp
from contextlib import contextmanager
from pathlib import Path

from mmengine import dist
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import FlexibleRunner

from ...checkpoints.files import POINTER, WholeFilesBackend, remove_parts, write_whole
from ...errors import UserError
from ..ranks import StopSignal, on_main
from ..sharding import FLEXIBLE, drop_second_copy, gathered_state, refusal

# EX_TEMPFAIL of sysexits.h: try again later.
PREEMPTED = 75
TIMEOUT = 600
# Set by tools/torchrun.py, which learns from this file that a stopped job has saved.
SAVED_FILE = 'AEMIM_SAVED_FILE'


class _KeepsForNow(WholeFilesBackend):
    """Notes what is to be removed."""

    def __init__(self):
        self.retired = []

    def remove(self, filepath) -> None:
        self.retired.append(filepath)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, with nothing lost.

    - A checkpoint appears when it is complete, with its SHA-256 in ``<file>.sha256``, and then is named in
      ``last_checkpoint``; only then are older ones removed. If the disk is full, the older ones stay, and training ends
      with an error.
    - It says where in the epoch it was made. With ``ResumableEpochLoop`` or ``ResumableIterLoop``, training resumed
      from it ends with the weights that it would have had without a break.
    - At SIGTERM, all ranks finish the iteration and one more, save ``iter_N.pth``, and exit with code 75. Within a
      gradient accumulation, they first complete it.

    All this holds for checkpoints on a local or mounted disk; with ``backend_args``, that storage does as it does.

    Args:
        **kwargs: Of ``CheckpointHook``.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stop = StopSignal()
        self._stopping = False
        # Of a sharded optimizer, while a checkpoint is saved.
        self._optimizer = None

    def before_train(self, runner) -> None:
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
        drop_second_copy(runner.optim_wrapper)

    def after_train(self, runner) -> None:
        self.stop.close()
        super().after_train(runner)

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        """Say where in the epoch this is, and in which order the data come."""
        if self._optimizer is not None:
            checkpoint['optimizer'] = self._optimizer
        loop, meta = runner.train_loop, checkpoint['meta']
        if hasattr(loop, 'batches'):
            checkpoint['position'] = dict(
                # At the end of an epoch, mmengine already counts the next one.
                batch=loop.done if meta['epoch'] == runner.epoch else 0,
                batches=len(loop.batches),
                sampler_seed=getattr(loop.batches.sampler, 'seed', None),
            )

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        """Go to where the checkpoint was made, if training is resumed."""
        position, loop = checkpoint.get('position'), runner.train_loop
        if not (runner._resume and position and hasattr(loop, 'batches')):
            return
        batches = len(loop.batches)
        if batches != position['batches']:
            change = (
                f'The checkpoint was made with {position["batches"]} batches an epoch on each rank, now it is {batches}'
            )
            if position['batch']:
                raise UserError(
                    f'{change}. It was made inside an epoch, so it needs the same data, batch size and number of '
                    'processes; or resume from the end of an epoch, with --resume WORK_DIR/epoch_N.pth.'
                )
            print_log(
                f'{change}: training goes on, but not as it would have without a break.', 'current', logging.WARNING
            )
        loop.done = position['batch']
        if position['sampler_seed'] is not None:
            # Without a seed in the config, each start draws another one.
            loop.batches.sampler.seed = position['sampler_seed']

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._stopping = self._stopping or self.stop.agreed()
        if self._stopping and not _accumulating(runner):
            self._save_and_exit(runner)

    def _save_and_exit(self, runner):
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
                'This checkpoint falls within a gradient accumulation, whose first part it does not hold. To resume '
                'exactly, let accumulative_counts divide the iterations between checkpoints.',
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
        # All ranks give their parts; the first one writes.
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
            write_whole(osp.join(runner.work_dir, POINTER), self.last_ckpt.encode())

        try:
            on_main(save)
        finally:
            self._optimizer = None

    def _save_best_checkpoint(self, runner, metrics) -> None:
        # mmengine saves on the first rank alone, and then the latest one again: all must learn first whether it could.
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
        """mmengine removes the old best checkpoint first: only note it, and remove it when the new one is there."""
        if not self.whole:
            yield
            return
        before, self.file_backend = self.file_backend, _KeepsForNow()
        try:
            yield
            retired = self.file_backend.retired
        finally:
            self.file_backend = before
        self._remove(path for path in retired if path != getattr(self, 'best_ckpt_path', None))

    def _remove(self, paths) -> None:
        for path in paths:
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):
                # DeepSpeed's are folders.
                self.file_backend.rmtree(path)


def _best_scores(runner) -> dict:
    return {name: value for name, value in runner.message_hub.runtime_info.items() if name.startswith('best_score')}


def _accumulating(runner) -> bool:
    """Whether gradients wait for more of them; a checkpoint does not hold them."""
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, OptimWrapper) and not wrapper.should_update()
