"""Which warnings InstrumentsHook gives, one measurement after the other, and what it refuses."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.logging import MessageHub
from mmpretrain.structures import DataSample

from aemim_mm.engine.hooks.instruments import InstrumentsHook
from aemim_mm.errors import UserError


def measured(figures):
    """A Runner that keeps what is logged, and a hook that measures these figures one after the other."""
    rows, values = [], iter(figures)
    visualizer = SimpleNamespace(add_scalars=lambda row, step: rows.append(row))
    runner = SimpleNamespace(message_hub=MessageHub('instruments'), visualizer=visualizer, iter=0, epoch=0)
    watching = InstrumentsHook()
    watching.measure = lambda runner: dict(next(values))
    return watching, runner, rows


def test_a_warning_returns_only_if_the_signature_was_away(monkeypatch):
    said = []
    monkeypatch.setattr(
        'aemim_mm.engine.hooks.instruments.print_log', lambda text, _logger, level=None: said.append((text, level))
    )
    low, high = dict(attack_over_noise=1.0), dict(attack_over_noise=3.0)
    watching, runner, _ = measured([low, low, high, low])
    counts = []
    for _ in range(4):
        watching.write(runner)
        counts.append(sum(level is not None for _, level in said))
    assert counts == [1, 1, 1, 2]


def test_k_nn_is_compared_with_its_best():
    watching, runner, rows = measured([dict(knn=value) for value in (50.0, 70.0, 52.0)])
    for _ in range(3):
        watching.write(runner)
    assert [row['instruments/knn_drop'] for row in rows] == [0, 0, 18]
    assert runner.message_hub.get_info('instruments')['shown'] == ['forgetting']


def test_collapsed_features_have_no_rank():
    """Equal features differ by rounding errors, which would be of full rank."""
    rounding = 1e-7 * torch.randn(40, 20, generator=torch.Generator().manual_seed(0))
    rank_of = InstrumentsHook()._frozen
    assert rank_of(torch.ones(40, 20) + rounding) == dict(rank=1 / 20)
    assert rank_of(torch.ones(40, 20) + 1e5 * rounding)['rank'] > 0.8


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(interval=0), 'interval is a whole number >= 1, but got 0'),
        (dict(num_images=2), 'num_images is a whole number >= 4'),
        (dict(knn=True), 'knn is a whole number >= 1, but got True'),
        (dict(thresholds=dict(stail=1)), "Unknown threshold 'stail'. Known: .*stale"),
        (dict(thresholds=dict(stale='1')), "thresholds.stale is a number, or None .* but got '1'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UserError, match=message):
        InstrumentsHook(**settings)


def started(model, samples, **settings):
    """Start a training on eight images with these data samples."""
    items = [dict(inputs=torch.zeros(3, 32, 32), data_samples=sample) for sample in samples]
    loader = SimpleNamespace(dataset=items, collate_fn=default_collate)
    InstrumentsHook(**settings).before_train(SimpleNamespace(model=model, train_dataloader=loader))


def test_data_and_models_that_do_not_fit(tiny):
    model = tiny.build(tiny.mae())
    started(model, [DataSample().set_gt_label(0)] * 8, knn=4)
    with pytest.raises(UserError, match='knn is at most half of the images, 4, but got 5'):
        started(model, [DataSample().set_gt_label(0)] * 8, knn=5)
    with pytest.raises(UserError, match='k-NN needs a label .* Set knn=False'):
        started(model, [DataSample()] * 8, knn=1)
    with pytest.raises(UserError, match='watches the pre-training of an encoder, but got a Linear'):
        started(torch.nn.Linear(1, 1), [])
