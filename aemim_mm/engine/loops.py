"""Training loops with which a resumed run computes the same bits as a run without a break.

In mmengine's loops, random numbers depend on all that the training process and the data loader's workers did before.
Here they are a function of (seed, rank, iteration), so no random state has to be saved. A checkpoint needs only its
position in the epoch.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

from mmengine import dist
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from ..errors import UserError
from .randomness import DATA, data_randomness, folded, seed_step


class SeededBatch(list):
    """The indices of a batch and the seed to load it with. The data loader sends both to a worker."""

    seed = 0


class LoadBatch:
    """Load the items of a batch with the batch's seed.

    torch's data loader calls this as ``dataset.__getitems__``.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset
        # The data set's own method, if it has one.
        self.before = getattr(dataset, '__getitems__', None)

    def __call__(self, indices: list) -> list:
        if not isinstance(indices, SeededBatch):
            return self._load(indices)
        with data_randomness(indices.seed):
            return self._load(indices)

    def _load(self, indices):
        return self.before(indices) if self.before else [self.dataset[index] for index in indices]


class Batches:
    """A batch sampler that gives each batch a seed, and can skip batches without loading them.

    Attributes:
        is_empty: Iteration yields no batch, and takes no index from the sampler.
    """

    def __init__(self, batch_sampler: Any):
        self.batch_sampler = batch_sampler
        self.is_empty = False
        self.begin(0, 0)

    def begin(self, seed: int, iteration: int, skip: int = 0) -> None:
        """Set what the next iteration over this sampler yields.

        Args:
            seed: The seed of the run.
            iteration: The training iteration of the first batch that is yielded.
            skip: Number of batches to skip before it.
        """
        self.seed, self.iteration, self.skip = seed, iteration, skip

    def __iter__(self) -> Iterator[SeededBatch]:
        if self.is_empty:
            return
        for indices in self.batch_sampler:
            if self.skip:
                self.skip -= 1
                continue
            batch = SeededBatch(indices)
            batch.seed = folded(DATA, self.seed, dist.get_rank(), self.iteration)
            self.iteration += 1
            yield batch

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name):
        # mmengine reads the sampler and the batch size.
        return getattr(self.__dict__['batch_sampler'], name)


def outlive_sigterm(worker: int, *, before: Callable | None = None) -> None:
    """Make a data loader's worker ignore SIGTERM unless the training process sends it.

    Clusters send SIGTERM to every process of a job. The training process still needs its workers to finish the
    iteration. Where the system does not tell who sent a signal (macOS, Windows), SIGTERM ends the worker.

    Args:
        worker: The number of the worker.
        before: Another ``worker_init_fn``, to be called first.
    """
    if before:
        before(worker)
    training = multiprocessing.parent_process()
    if not hasattr(signal, 'sigwaitinfo') or training is None:
        # A forked worker has the handler of the training process, which would only note the signal.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    # Not os.getppid(): that is the fork server under the start method "forkserver".
    parent = training.pid
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def prepare(loader: DataLoader) -> Batches:
    """Change a data loader in place, so that a batch does not depend on the batches loaded before it.

    Returns:
        The new batch sampler of the data loader.

    Raises:
        UserError: The data set is iterable, or the data loader has no batches: there is no order to resume in.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise UserError(
            'An iterable data set, or a data loader without batches, cannot be resumed inside an epoch. Give it a '
            "sampler, or take mmengine's own train_cfg.type and CheckpointHook, and --cfg-options exact_resume=False."
        )
    batches = Batches(loader.batch_sampler)
    # torch forbids assignment. A new loader would lack batch_size and sampler, which other code reads.
    vars(loader)['batch_sampler'] = batches
    # Set on the object, since a wrapper around the data set would hide its type from hooks.
    loader.dataset.__getitems__ = LoadBatch(loader.dataset)
    loader.worker_init_fn = partial(outlive_sigterm, before=loader.worker_init_fn)
    return batches


class _Resumable(BaseLoop):
    """Common part of the two loops.

    Attributes:
        batches: The batch sampler.
        done: Number of batches of this epoch that training has used.
    """

    def __init__(self, runner, dataloader, *args, **kwargs):
        if isinstance(dataloader, dict):
            different = runner._randomness_cfg.get('diff_rank_seed', False)
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=different)
        self.batches = prepare(dataloader)
        self.done = 0
        # mmengine 0.10.7 begins to load data in the constructor, before the position is known.
        self.batches.is_empty = True
        super().__init__(runner, dataloader, *args, **kwargs)
        self.batches.is_empty = False

    def run_iter(self, *args) -> None:
        """Run one iteration with its own random numbers, which differ between ranks."""
        seed_step(self.runner.seed, self._iter, dist.get_rank())
        super().run_iter(*args)


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """mmengine's loop over epochs. A resumed run skips the batches that the epoch has used, without loading them."""

    def run_epoch(self) -> None:
        """Run an epoch, or the rest of it after a resumption."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self.done
        self.batches.begin(self.runner.seed, self._iter, skip=done)
        # Without batches left, do not iterate: workers would start for nothing.
        for index, batch in enumerate(self.dataloader, done) if done < len(self.dataloader) else ():
            self.done = index + 1
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.done = 0


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """mmengine's loop over iterations. A resumed run skips the batches that it has used, without loading them."""

    def run(self) -> nn.Module:
        """Train up to ``max_iters``; return the model."""
        runner = self.runner
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        stream = self._stream()
        while self._iter < self._max_iters and not self.stop_training:
            runner.model.train()
            self.run_iter(next(stream))
            self._decide_current_val_interval()
            due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
            if runner.val_loop is not None and self._iter >= self.val_begin and due:
                runner.val_loop.run()
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def _stream(self):
        """Yield batches without end, starting at the current iteration."""
        self.batches.begin(self.runner.seed, self._iter, skip=self._iter)
        for epoch in count():
            # mmengine's InfiniteSampler ignores the epoch; other samplers may lack the method.
            if hasattr(self.batches.sampler, 'set_epoch'):
                self.batches.sampler.set_epoch(epoch)
            yield from self.dataloader
