"""Carlini and Wagner's L2 attack: the closed form of a linear classifier, and foolbox's own run."""

import sys

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.trained import batch, classifier, images_and_labels, trained_classifier
from torch import nn

from aemim_mm.errors import UserError
from aemim_mm.evaluation.metrics import accuracy_interval
from aemim_mm.robustness.attacked_classifier import AttackedModel, build_attack
from aemim_mm.robustness.carlini_wagner import CarliniWagner, MinimalDistance, with_options
from aemim_mm.robustness.conditions import Condition
from aemim_mm.robustness.pixels import PixelClassifier
from aemim_mm.robustness.sanity import accuracy_under
from aemim_mm.robustness.whitebox import WhiteBox


def distances(model, data, **fields):
    samples = AttackedModel(model, dict(type='cw', **fields)).test_step(data)
    return np.array([sample.distance for sample in samples]), [sample.broken_by for sample in samples]


class Flat(nn.Module):
    """The pixels as features."""

    def forward(self, images):
        return (images.flatten(1),)


def test_a_linear_classifier_has_the_distance_of_the_closed_form():
    """The nearest boundary of a linear classifier is at min_j (z_y - z_j) / |w_y - w_j|."""
    model = classifier(backbone=Flat(), head=dict(type='LinearClsHead', num_classes=5, in_channels=16), classes=5)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 16, generator=generator)
    model.head.fc.weight.data, model.head.fc.bias.data = weight, torch.zeros(5)
    model.eval()
    # Far from 0 and 255, so that the valid range does not matter.
    images = torch.randint(118, 138, (24, 1, 4, 4), generator=generator, dtype=torch.uint8)
    pixels = PixelClassifier(model).space.normalize(images.float())
    logits = (pixels.flatten(1) @ weight.T).detach()
    labels = logits.argmax(1)
    labels[:4] = (labels[:4] + 1) % 5
    data = batch(24)
    data['inputs'] = images
    for sample, label in zip(data['data_samples'], labels):
        sample.set_gt_label(label)
    found, broken_by = distances(model, data, steps=400, binary_search_steps=8)

    # The weights of images from 0 to 1: the data preprocessor divides by std, which is in pixels.
    std = float(model.data_preprocessor.std) / 255
    gap = logits.gather(1, labels[:, None]) - logits
    slope = (weight[labels][:, None] - weight[None]).norm(dim=2) / std
    expected = (gap / slope).masked_fill(slope == 0, float('inf')).min(dim=1).values.numpy()
    assert (found[:4] == 0).all() and broken_by[:4] == ['clean'] * 4
    assert broken_by[4:] == ['cw'] * 20
    assert (found[4:] >= expected[4:] * (1 - 1e-4)).all()
    np.testing.assert_allclose(found[4:], expected[4:], rtol=0.03)


def test_equals_foolboxs_own_run():
    model, data = trained_classifier(), batch(12)
    settings = dict(steps=20, binary_search_steps=3)
    found, broken_by = distances(model, data, step_size=0.1, initial_const=1.0, **settings)
    library = pytest.importorskip('foolbox')
    images, labels = images_and_labels('test', 12)
    right = np.array(broken_by) != 'clean'
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    class Logits(nn.Module):
        def forward(self, x):
            return PixelClassifier(model).unit_logits(x)

    attack = library.attacks.L2CarliniWagnerAttack(stepsize=0.1, initial_const=1.0, **settings)
    x = images[right].float() / 255
    target = library.PyTorchModel(Logits().eval(), bounds=(0, 1), device='cpu')
    _, x_adv, success = attack(target, x, labels[right], epsilons=None)
    expected = (x_adv - x).flatten(1).norm(dim=1)
    assert right.sum() >= 6 and success.all()
    torch.testing.assert_close(torch.tensor(found[right]).float(), expected, atol=1e-4, rtol=1e-4)
    assert (found[~right] == 0).all()


def test_longer_search_finds_nearer_images_and_pgd_agrees():
    model, data = trained_classifier(), batch(30)
    before = tiny.snapshot(model)
    short, _ = distances(model, data, steps=20, binary_search_steps=2)
    long, _ = distances(model, data)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert np.median(long[long > 0]) < 0.9 * np.median(short[short > 0])
    inputs = model.data_preprocessor(dict(inputs=data['inputs']))['inputs']
    labels = images_and_labels('test', 30)[1]
    for radius in (0.25, 0.5):
        pgd = accuracy_under(model, WhiteBox(radius, 'l2', steps=50, loss='margin'), [(inputs, labels)])
        assert 100 * (long > radius).mean() == pytest.approx(pgd, abs=7)


def test_the_metric_by_hand():
    metric = MinimalDistance(radii=(0.25, 0.5))
    metric.process(None, [dict(distance=value) for value in (0.0, 0.1, 0.3, 0.7, float('inf'))])
    got = metric.evaluate(5)
    # The median of 0.1, 0.3, 0.7 and infinity.
    assert got['minimal_distance/median L2'] == pytest.approx(0.5)
    assert got['minimal_distance/accuracy at 0.25'] == 60 and got['minimal_distance/accuracy at 0.5'] == 40
    assert metric.figures['accuracy at 0.5'] == accuracy_interval([0, 0, 0, 1, 1])
    assert metric.figures['median L2'].low <= 0.3 and metric.figures['median L2'].high == float('inf')


def test_options_and_the_note():
    other = Condition('clean', 'clean', {})
    conditions = with_options([other, Condition('cw', 'CW', {}, attack=dict(type='cw'))], ['steps=7', 'step_size=0.5'])
    assert conditions[0] is other
    attack = dict(type='cw', steps=7, binary_search_steps=6, step_size=0.5, initial_const=0.1, confidence=0.0)
    assert conditions[1].attack == attack and 'up to 6 x 7 steps' in conditions[1].note
    with pytest.raises(UserError, match='takes KEY=VALUE, as in steps=1000, but got steps'):
        with_options(conditions, ['steps'])
    with pytest.raises(UserError, match='--cw-options is for the suite cw'):
        with_options([other], ['steps=7'])


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(steps=0), 'steps is a whole number >= 1'),
        (dict(binary_search_steps=1.5), 'binary_search_steps is a whole number >= 1'),
        (dict(step_size=0), 'step_size is a number > 0, but got 0'),
        (dict(confidence=-1), 'confidence is a number >= 0, but got -1'),
        (dict(eps=4), "field of attack cw 'eps'"),
    ],
)
def test_bad_values(fields, message):
    with pytest.raises(UserError) as error:
        build_attack(dict(type='cw', **fields))
    assert message in str(error.value)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'foolbox', None)
    with pytest.raises(UserError, match=r"pip install 'foolbox>=3.3.4', or pip install 'aemim-mm\[robustness\]'"):
        CarliniWagner()
