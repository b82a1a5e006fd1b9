"""A resumed run ends like a run without a break, for both loops, with and without workers, at any iteration."""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import Dataset, IterableDataset

from aemim_mm.engine.loops import Batches, ResumableEpochLoop, prepare
from aemim_mm.engine.randomness import data_randomness, folded, seed_step
from aemim_mm.errors import UserError

EPOCHS = dict(type='ResumableEpochLoop', max_epochs=3)
_numbers = itertools.count()
ITERATIONS = dict(type='ResumableIterLoop', max_iters=15, val_interval=100)


class Noisy(Dataset):
    """Twenty items with noise from Python, NumPy and torch. Counts the loads of each item over all processes."""

    metainfo = {}

    def __init__(self):
        self.loaded = torch.zeros(20, dtype=torch.int64).share_memory_()

    def __deepcopy__(self, memo):
        return self  # mmengine copies the config of the loader. The copies have to share this memory.

    def __len__(self):
        return len(self.loaded)

    def __getitem__(self, index):
        self.loaded[index] += 1
        return dict(inputs=torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()]))


class NoisyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4))
        self.seen = []

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        self.seen += inputs[:, 0].int().tolist()
        noise = torch.rand(4) + random.random() + np.random.rand()
        return dict(loss=((inputs * self.weight).sum(1) - noise.sum()).square().mean())


def runner(work_dir, loop, workers, *, resume=False, sampler='DefaultSampler', seed=3, batch_size=4, accumulate=1):
    return Runner(
        NoisyModel(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
            dataset=Noisy(),
            sampler=dict(type=sampler, shuffle=True),
        ),
        train_cfg=dict(loop),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=accumulate),
        # Within an accumulation, mmengine steps the schedule, and torch warns.
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=15, by_epoch=False)] if accumulate == 1 else None,
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=100)),
        resume=resume,
        randomness=dict(seed=seed),
        experiment_name=f'loops{next(_numbers)}',
    )


def train(run):
    run.train()
    if run.train_dataloader._iterator:
        run.train_dataloader._iterator._shutdown_workers()
    return run


def stop_at(run, iteration):
    """Train, and simulate SIGTERM in this iteration."""
    (hook,) = (hook for hook in run.hooks if type(hook).__name__ == 'SafeCheckpointHook')
    step = run.model.train_step

    def train_step(*args, **kwargs):
        hook.stop.received = hook.stop.received or run.iter + 1 == iteration
        return step(*args, **kwargs)

    run.model.train_step = train_step
    with pytest.raises(SystemExit) as stopped:
        run.train()
    hook.stop.close()
    assert stopped.value.code == 75


@pytest.mark.parametrize(
    ('loop', 'workers', 'sampler', 'iteration'),
    [
        (EPOCHS, 0, 'DefaultSampler', 2),
        (EPOCHS, 0, 'DefaultSampler', 5),
        (EPOCHS, 2, 'DefaultSampler', 8),
        (ITERATIONS, 0, 'InfiniteSampler', 7),
        (ITERATIONS, 2, 'InfiniteSampler', 7),
        (ITERATIONS, 0, 'DefaultSampler', 12),
    ],
)
@pytest.mark.parametrize('seed', [3, None])
def test_stopped_and_resumed_it_ends_the_same(tmp_path, loop, workers, sampler, iteration, seed):
    if seed is None and workers:
        pytest.skip('as without workers')
    settings = dict(sampler=sampler, seed=seed)
    whole = runner(tmp_path / 'stopped', loop, 0, **settings)
    stop_at(whole, iteration)
    # Without a seed, two runs are equal only from the checkpoint on.
    other = runner(tmp_path / 'stopped', loop, 0, resume=True, **settings)
    train(other)
    resumed = runner(tmp_path / 'stopped', loop, workers, resume=True, **settings)
    (resumed._load_from,) = map(str, (tmp_path / 'stopped').glob(f'iter_{iteration}.pth'))
    train(resumed)
    assert torch.equal(resumed.model.weight, other.model.weight)
    assert resumed.model.seen == other.model.seen
    # Items from before the break are not loaded.
    prefetched = 4 * 4 if workers and sampler == 'InfiniteSampler' else 0
    assert 0 <= resumed.train_dataloader.dataset.loaded.sum() - (60 - 4 * iteration) <= prefetched
    if seed is not None:
        undisturbed = runner(tmp_path / 'undisturbed', loop, workers, **settings)
        train(undisturbed)
        assert torch.equal(resumed.model.weight, undisturbed.model.weight)
        assert whole.model.seen + resumed.model.seen == undisturbed.model.seen


def test_each_epoch_sees_every_item_once_in_another_order_with_other_noise(tmp_path):
    run = runner(tmp_path, EPOCHS, 0)
    run.train()
    epochs = [run.model.seen[begin : begin + 20] for begin in (0, 20, 40)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs) and epochs[0] != epochs[1]


def test_ranks_and_iterations_have_different_randomness():
    seeds = {folded(1, 3, rank, iteration) for rank in range(8) for iteration in range(100)}
    assert len(seeds) == 800
    draws = []
    for iteration in (1, 2, 1):
        seed_step(0, iteration)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert draws[0] == draws[2] and len({*draws[0], *draws[1]}) == 6
    with data_randomness(folded(1, 2, 3)):
        assert len({random.random(), np.random.rand(), torch.rand(()).item()}) == 3


def test_each_rank_draws_its_own_numbers_whatever_the_config_says(monkeypatch):
    """Without ``diff_rank_seed`` in a config, all ranks have the same seed."""
    runner, draws = SimpleNamespace(seed=5), []
    monkeypatch.setattr(EpochBasedTrainLoop, 'run_iter', lambda *_: draws.append(torch.rand(()).item()))
    for rank in (0, 1, 0):
        monkeypatch.setattr('aemim_mm.engine.loops.dist.get_rank', lambda rank=rank: rank)
        loop = object.__new__(ResumableEpochLoop)
        vars(loop).update(_runner=runner, _iter=3)
        loop.run_iter(0, None)
    assert draws[0] == draws[2] != draws[1]


def test_loading_leaves_the_random_state_of_training_alone():
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(()).item(), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    with data_randomness(7):
        torch.rand(9), np.random.rand(9), random.random()
    assert (torch.rand(()).item(), np.random.rand(), random.random()) == expected


def test_a_change_of_the_batches_inside_an_epoch_is_refused(tmp_path):
    stop_at(runner(tmp_path, EPOCHS, 0), 2)
    resumed = runner(tmp_path, EPOCHS, 0, resume=True, batch_size=2)
    with pytest.raises(
        UserError, match='made with 5 batches an epoch on each rank, but now there are 10. It was made inside'
    ):
        resumed.train()


def test_it_stops_between_accumulations(tmp_path):
    stop_at(runner(tmp_path, EPOCHS, 0, accumulate=3), 4)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_6.pth']


@pytest.mark.parametrize('loop', [EPOCHS, ITERATIONS])
def test_what_is_left_of_an_accumulation_is_the_last_update(tmp_path, monkeypatch, loop):
    """15 iterations with accumulation over 4: three updates from four batches, across epochs, and one from three."""
    run, gradients, updates = runner(tmp_path, loop, 0, accumulate=4), [], []
    scale, step = OptimWrapper.scale_loss, torch.optim.AdamW.step

    def scale_loss(self, loss):
        (gradient,) = torch.autograd.grad(loss, run.model.weight, retain_graph=True)
        gradients.append(gradient)
        return scale(self, loss)

    def counted(self, *args, **kwargs):
        updates.append((len(gradients), run.model.weight.grad.clone()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(OptimWrapper, 'scale_loss', scale_loss)
    monkeypatch.setattr(torch.optim.AdamW, 'step', counted)
    train(run)
    assert [done for done, _ in updates] == [4, 8, 12, 15]
    begin = 0
    for done, gradient in updates:
        torch.testing.assert_close(gradient, sum(gradients[begin:done]) / (done - begin))
        begin = done


def test_stopped_twice_in_an_epoch_it_keeps_one_such_checkpoint(tmp_path):
    stop_at(runner(tmp_path, EPOCHS, 0), 2)
    again = runner(tmp_path, EPOCHS, 0, resume=True)
    (hook,) = (hook for hook in again.hooks if type(hook).__name__ == 'SafeCheckpointHook')
    hook.max_keep_ckpts = 2
    stop_at(again, 4)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']
    last = runner(tmp_path, EPOCHS, 0, resume=True)
    train(last)
    undisturbed = runner(tmp_path / 'undisturbed', EPOCHS, 0)
    train(undisturbed)
    assert torch.equal(last.model.weight, undisturbed.model.weight)


def test_data_without_order_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield 1

    with pytest.raises(UserError, match='cannot be resumed inside an epoch'):
        prepare(torch.utils.data.DataLoader(Stream()))


def test_other_code_still_knows_the_loader_by_its_batch_size_and_sampler():
    loader = torch.utils.data.DataLoader(Noisy(), batch_size=4, shuffle=False)
    sampler = loader.sampler
    batches = prepare(loader)
    assert isinstance(batches, Batches) and loader.batch_sampler.batch_size == loader.batch_size == 4
    assert loader.sampler is sampler is batches.sampler and len(loader) == 5
    assert [batch['inputs'][:, 0].tolist() for batch in loader][4] == [16, 17, 18, 19]
