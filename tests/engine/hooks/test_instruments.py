"""InstrumentsHook: its figures, its warnings, and a training that does not notice it."""

import itertools
import json
import random

import numpy as np
import pytest
import torch
from helpers import hosts, processes, runs, tiny
from mmengine.dataset import default_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from aemim_mm.engine.hooks.instruments import InstrumentsHook
from aemim_mm.models.movement import feature_movement
from aemim_mm.report.scalars import read_scalars

_numbers = itertools.count()
ALL = {
    *('loss_ratio', 'loss_ratio_unweighted', 'moved_noise', 'moved_attack', 'attack_over_noise', 'domain_gap'),
    *('adapter_drift', 'rank'),
}


class Photos(torch.utils.data.Dataset):
    """Sixteen images of two kinds, uint8. All three random generators decide whether one is flipped."""

    def __init__(self, labelled=True):
        self.pixels, self.labelled = tiny.pixels(16).round().byte(), labelled

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        picture, sample = self.pixels[index], DataSample()
        if random.random() + np.random.rand() + torch.rand(()).item() > 1.5:
            picture = picture.flip(-1)
        if self.labelled:
            sample.set_gt_label(index % 2)
        return dict(inputs=picture, data_samples=sample)


def train(work_dir, *hooks, epochs=2, loop=None, resume=False, wrap=lambda model: model, config=None):
    """Train a tiny model for two iterations an epoch; return the Runner."""
    runner = Runner(
        wrap(tiny.build(config or tiny.aemim())),
        str(work_dir),
        train_dataloader=dict(
            batch_size=8,
            num_workers=0,
            dataset=Photos(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=default_collate,
        ),
        train_cfg=loop or dict(type='ResumableEpochLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(
            checkpoint=dict(type='SafeCheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1)
        ),
        custom_hooks=list(hooks),
        default_scope='mmpretrain',
        randomness=dict(seed=0),
        resume=resume,
        experiment_name=f'instruments{next(_numbers)}',
    )
    runner.train()
    return runner


def hook(**settings):
    return dict(type='InstrumentsHook', num_images=8, **settings)


def logged(work_dir):
    """What the hook logged: name to (steps, values)."""
    found = read_scalars(work_dir, 'instruments/rank')
    return {name.removeprefix('instruments/'): found[name] for name in found if name.startswith('instruments/')}


def warnings(work_dir):
    return [line for line in runs.log_of(work_dir).splitlines() if 'WARNING - Instruments' in line]


def states():
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


def test_training_is_the_same_bit_for_bit(tmp_path):
    with_hook, seen = train(tmp_path / 'with', hook(knn=3)), states()
    without = train(tmp_path / 'without')
    assert states() == seen
    tiny.assert_same_snapshot(tiny.snapshot(with_hook.model), tiny.snapshot(without.model))
    losses = [[row['loss'] for row in runs.scalars(tmp_path / name)] for name in ('with', 'without')]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_a_healthy_run_logs_all_figures_and_no_warning(tmp_path):
    runner = train(tmp_path, hook(knn=3))
    figures = logged(tmp_path)
    assert set(figures) == ALL | {'knn', 'knn_drop'} and warnings(tmp_path) == []
    assert all(steps == (2, 4) and np.isfinite(values).all() for steps, values in figures.values())
    # Scalars of the losses are means over the iterations so far.
    row = runs.scalars(tmp_path)[1]
    assert figures['loss_ratio'][1][0] == pytest.approx(row['loss_adv'] / row['loss_clean'], rel=1e-5)
    assert figures['loss_ratio'] == figures['loss_ratio_unweighted']
    assert figures['attack_over_noise'][1][1] == pytest.approx(
        figures['moved_attack'][1][1] / figures['moved_noise'][1][1]
    )
    # Images 0, 2, 4, ... of the sixteen are evenly spaced, and so is the last one.
    watching = InstrumentsHook(num_images=8)
    watching.before_train(runner)
    images = torch.cat([batch['inputs'] for batch in watching._batches])
    pixels = Photos().pixels[[0, 2, 4, 6, 8, 10, 12, 15]]
    assert all(torch.equal(got, one) or torch.equal(got, one.flip(-1)) for got, one in zip(images, pixels))
    assert 0 < sum(torch.equal(got, one) for got, one in zip(images, pixels)) < 8


@pytest.mark.parametrize(
    ('name', 'option', 'change'),
    [
        (None, 'model.adv_weight=1', ''),
        ('dominance', 'model.adv_weight=50', 'Lower model.adv_weight'),
        ('small_budget', 'model.data_preprocessor.eps=0.5', 'Raise data_preprocessor.eps'),
        ('stale', 'model.data_preprocessor.steps=0', 'Raise data_preprocessor.steps'),
        ('large_budget', 'model.data_preprocessor.eps=128', 'Lower data_preprocessor.eps'),
    ],
)
def test_the_demo_and_each_failure_on_purpose(name, option, change, tmp_path):
    """A failure has its warning after one epoch, and the demo as it is has none."""
    hooks = "custom_hooks=[dict(type='InstrumentsHook',num_images=32,knn=5)]"
    runs.train(runs.AEMIM, tmp_path, options=[hooks, option])
    found = warnings(tmp_path)
    assert len(found) == bool(name) and logged(tmp_path)['rank'][0] == (4,)
    assert not name or ('epoch 1' in found[0] and f'(thresholds.{name}=' in found[0] and change in found[0])


def test_a_threshold_of_ones_own(tmp_path):
    thresholds = dict(stale=None, dominance=1e-3)
    train(tmp_path, hook(thresholds=thresholds), config=tiny.aemim(data_preprocessor=dict(steps=0)))
    assert not any('thresholds.stale' in line for line in warnings(tmp_path))
    assert any('(thresholds.dominance=0.001)' in line for line in warnings(tmp_path))


def test_a_resumed_training_measures_the_same_and_repeats_no_warning(tmp_path):
    config = tiny.aemim(data_preprocessor=dict(steps=0), adv_weight=[(0, 1), (1, 2)])
    train(tmp_path / 'whole', hook(interval=2), config=config, epochs=4)
    part = tmp_path / 'part'
    part.mkdir()
    for name in ('epoch_2.pth', 'epoch_2.pth.sha256'):
        (part / name).write_bytes((tmp_path / 'whole' / name).read_bytes())
    (part / 'last_checkpoint').write_text(str(part / 'epoch_2.pth'))
    train(part, hook(interval=2), config=config, epochs=4, resume=True)
    whole, resumed = logged(tmp_path / 'whole'), logged(part)
    assert {name: (steps[1:], values[1:]) for name, (steps, values) in whole.items()} == resumed
    assert warnings(part) == [] and any('stale' in line for line in warnings(tmp_path / 'whole'))
    # The weight rises from 1 to 1.5 in the first half.
    assert 1.1 < whole['loss_ratio'][1][0] / whole['loss_ratio_unweighted'][1][0] < 1.3


def test_added_adapters_have_a_size(tmp_path):
    train(tmp_path, hook(), config=tiny.aemim(backbone=dict(adapters=['lora'])), epochs=1)
    figures = logged(tmp_path)
    assert figures['adapter_size'][1][0] > 0 and 'adapter_drift' not in figures and warnings(tmp_path) == []


def test_a_model_without_adversarial_branch_has_rank_and_k_nn(tmp_path):
    train(tmp_path, hook(knn=3), config=tiny.mae())
    assert set(logged(tmp_path)) == {'rank', 'knn', 'knn_drop'}


def test_training_by_iterations_measures_at_the_end(tmp_path):
    train(tmp_path, hook(), loop=dict(type='ResumableIterLoop', max_iters=3))
    assert logged(tmp_path)['rank'][0] == (3,)


class FullyShardedDataParallel(torch.nn.Identity):
    """Has the name of torch's wrapper, which needs a process group."""


def test_of_sharded_weights_only_the_losses_are_compared(tmp_path):
    def shard(model):
        model.neck.part = FullyShardedDataParallel()
        return model

    train(tmp_path, hook(), wrap=shard)
    found = read_scalars(tmp_path, 'instruments/loss_ratio')
    assert set(found) == {'instruments/loss_ratio', 'instruments/loss_ratio_unweighted', 'step'}
    assert 'the weights are sharded, so only the losses are compared' in runs.log_of(tmp_path)


def _rank(rank, folder):
    """Train on each rank with and without the hook; then measure a model that communicates in its loss."""
    weights = []
    for name, hooks in (('with', [hook()]), ('without', [])):
        runner = train(f'{folder}/{name}', *hooks, wrap=lambda model: MMDistributedDataParallel(module=model))
        weights.append(runner.model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    model = hosts.build(hosts.adversarial('BEiT v2', None))
    figures = [one.tolist() for one in vars(feature_movement(model, **hosts.batch('BEiT v2', model))).values()]
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(figures, file)


def test_two_ranks_stay_in_step(tmp_path):
    processes.on_ranks(_rank, str(tmp_path))
    assert logged(tmp_path / 'with')['rank'][0] == (1, 2)
    assert (tmp_path / '0.json').read_text() == (tmp_path / '1.json').read_text()
