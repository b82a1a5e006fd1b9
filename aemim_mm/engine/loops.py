"""Training loops that a resumed run enters where the interrupted one left off, to the bit.

mmengine's loops draw random numbers from states that depend on all that happened before, in the training process and in
each data loader's worker. Here they are a function of (seed, rank, iteration): no state needs to be saved, and none can
be lost. A checkpoint needs to say only where in the epoch it was made.
"""

import os
import signal
import threading
from functools import partial
from itertools import count

from mmengine import dist
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader, IterableDataset

from ..errors import UserError
from .randomness import DATA, data_randomness, folded, seed_step


class SeededBatch(list):
    """The indices of a batch, with the seed to load it by; both travel to a worker."""

    seed = 0


class LoadBatch:
    """Loads the items of a batch; torch's data loader looks for such a function in ``dataset.__getitems__``."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.before = getattr(dataset, '__getitems__', None)

    def __call__(self, indices):
        if not isinstance(indices, SeededBatch):
            return self._load(indices)
        with data_randomness(indices.seed):
            return self._load(indices)

    def _load(self, indices):
        return self.before(indices) if self.before else [self.dataset[index] for index in indices]


class Batches:
    """A batch sampler that can begin anywhere without loading what it passes over, and gives each batch its seed."""

    def __init__(self, batch_sampler):
        self.batch_sampler = batch_sampler
        # Closed, it takes no index from its sampler, which would be lost.
        self.closed = False
        self.begin(0, 0)

    def begin(self, seed: int, iteration: int, skip: int = 0) -> None:
        """From here on, the next batch is that of ``iteration``; ``skip`` batches of the sampler come before it."""
        self.seed, self.iteration, self.skip = seed, iteration, skip

    def __iter__(self):
        if self.closed:
            return
        for indices in self.batch_sampler:
            if self.skip:
                self.skip -= 1
                continue
            batch = SeededBatch(indices)
            batch.seed = folded(DATA, self.seed, dist.get_rank(), self.iteration)
            self.iteration += 1
            yield batch

    def __len__(self):
        return len(self.batch_sampler)

    def __getattr__(self, name):
        # mmengine asks for the sampler and the batch size.
        return getattr(self.__dict__['batch_sampler'], name)


def outlive_sigterm(worker, *, before=None) -> None:
    """In a data loader's worker: let only the training process end it.

    Clusters signal every process of a job, but the training process still wants to finish its iteration.
    """
    if before:
        before(worker)
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait():
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def prepare(loader: DataLoader) -> Batches:
    """Make a data loader's batches independent of what was loaded before, in place.

    Raises:
        UserError: The data has no order to resume in.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise UserError(
            'An iterable data set, or a data loader without batches, cannot be resumed inside an epoch. Give it a '
            "sampler, or take mmengine's own train_cfg.type and CheckpointHook, and --cfg-options exact_resume=False."
        )
    batches = Batches(loader.batch_sampler)
    # A new loader would lose its batch_size and sampler, by which other code knows it; torch only forbids assignment.
    vars(loader)['batch_sampler'] = batches
    # On the object: a wrapper around the data set would hide its type from hooks.
    loader.dataset.__getitems__ = LoadBatch(loader.dataset)
    loader.worker_init_fn = partial(outlive_sigterm, before=loader.worker_init_fn)
    return batches


class _Resumable:
    def __init__(self, runner, dataloader, *args, **kwargs):
        if isinstance(dataloader, dict):
            different = runner._randomness_cfg.get('diff_rank_seed', False)
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=different)
        self.batches = prepare(dataloader)
        # Batches of this epoch that are behind us.
        self.done = 0
        self.batches.closed = True  # mmengine 0.10.7 starts to load here, before it knows from where.
        super().__init__(runner, dataloader, *args, **kwargs)
        self.batches.closed = False

    def run_iter(self, *args) -> None:
        """One iteration, with random numbers of its own."""
        seed_step(self.runner.seed, self._iter)
        super().run_iter(*args)


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """mmengine's loop over epochs; a resumed run passes over what the epoch has behind it, without loading it."""

    def run_epoch(self) -> None:
        """The rest of an epoch; normally, all of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self.done
        self.batches.begin(self.runner.seed, self._iter, skip=done)
        # Not an empty pass: workers would start for nothing.
        for index, batch in enumerate(self.dataloader, done) if done < len(self.dataloader) else ():
            self.done = index + 1
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.done = 0


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """mmengine's loop over iterations; a resumed run passes over what it has behind it, without loading it."""

    def run(self):
        """Train up to ``max_iters``."""
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
        """Batches without end, from where training stands."""
        self.batches.begin(self.runner.seed, self._iter, skip=self._iter)
        for epoch in count():
            # An infinite sampler ignores it, and stays in the first epoch.
            if hasattr(self.batches.sampler, 'set_epoch'):
                self.batches.sampler.set_epoch(epoch)
            yield from self.dataloader
