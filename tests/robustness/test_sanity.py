"""Each check passes on an honest classifier, and fails on one that has the fault it looks for."""

import pytest
import torch
from helpers import tiny
from helpers.trained import images_and_labels, trained_classifier
from torch import nn

from aemim_mm.robustness.autoattack import available
from aemim_mm.robustness.sanity import (
    RandomNoise,
    accuracy_under,
    black_box_attack,
    check_black_box,
    check_deterministic,
    check_eps_zero,
    check_falls,
    check_large_eps,
    check_zero_gradients,
    clean_accuracy,
    run_sanity_checks,
)
from aemim_mm.robustness.whitebox import WhiteBox


@pytest.fixture
def model():
    return trained_classifier()


@pytest.fixture
def batches(model):
    images, labels = images_and_labels('test', 200)
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    return list(zip(inputs.split(100), labels.split(100)))


def outcomes(checks):
    return {check.name: check.passed for check in checks}


@pytest.mark.parametrize('attack', [WhiteBox(4, steps=6), WhiteBox(0.3, 'l2', steps=6)], ids=['linf', 'l2'])
def test_an_honest_classifier_passes_all(model, batches, attack):
    before = tiny.snapshot(model)
    checks = run_sanity_checks(model, attack, batches, queries=20)
    assert len(checks) == 7 and all(check.passed for check in checks), checks
    tiny.assert_same_snapshot(tiny.snapshot(model), before)


class Stepped(nn.Module):
    """Rounds the images to a few levels: the gradient is zero nearly everywhere."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone((x * 4).round() / 4 + 0 * x)


def test_a_classifier_that_hides_its_gradients_is_caught(model, batches):
    model.backbone = Stepped(model.backbone)
    passed = outcomes(run_sanity_checks(model, WhiteBox(8, steps=4, start='zero'), batches, queries=100))
    assert not passed['gradients are not zero']
    assert not passed['a large eps breaks everything']
    assert passed['eps 0 equals clean accuracy'] and passed['the model is deterministic']
    if available():
        assert not passed['no black-box attack beats the white-box one']


class Noisy(nn.Module):
    """Adds noise to the features, also in eval mode."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return tuple(feature + 0.1 * torch.randn_like(feature) for feature in self.backbone(x))


def test_a_randomised_classifier_is_caught(model, batches):
    assert check_deterministic(model, batches[0][0]).value == 0
    model.backbone = Noisy(model.backbone)
    check = check_deterministic(model, batches[0][0])
    assert not check.passed and check.value > 1e-3 and 'expectation over transformation' in check.explanation


def test_dropout_is_off_where_it_is_measured(model, batches):
    model.backbone.layers.append(nn.Dropout(0.5))
    model.train()
    assert check_deterministic(model, batches[0][0]).passed
    assert model.backbone.layers[-1].training


def test_the_share_of_zero_gradients(model, batches):
    inputs, labels = batches[0]
    assert check_zero_gradients(model, inputs, labels).value == 0
    # By hand: the head is blind, so no image has a gradient.
    with torch.no_grad():
        model.head.fc.weight.zero_()
    check = check_zero_gradients(model, inputs, labels)
    assert check.value == 1 and not check.passed and '100.0%' in check.explanation
    # Half of the images meet a dead unit: black ones, here, under a ReLU without a bias.
    model.backbone.layers = nn.Sequential(nn.Flatten(), nn.ReLU())
    model.head.fc = nn.Linear(784, 10)
    half = inputs.clone()
    half[::2] = -73.0 / 90.0
    assert check_zero_gradients(model, half, labels).value == pytest.approx(0.5, abs=0.02)


def test_clean_accuracy_is_that_of_the_tested_classifier(model, batches):
    images, labels = images_and_labels('test', 200)
    data = model.data_preprocessor(dict(inputs=images))
    expected = 100 * (model(data['inputs'], mode='tensor').argmax(1) == labels).double().mean().item()
    assert expected > 70 and clean_accuracy(model, batches) == pytest.approx(expected)
    model.train()
    assert clean_accuracy(model, batches) == pytest.approx(expected) and model.training


def test_eps_zero():
    assert check_eps_zero(80.0, 80.0).passed
    check = check_eps_zero(80.0, 79.0)
    assert not check.passed and check.value == -1


@pytest.mark.parametrize(
    'accuracies, rise',
    [({0: 80, 2: 60, 4: 60}, 0), ({4: 60, 0: 80, 2: 60.5}, -0.5), ({0: 80, 2: 50, 4: 55, 8: 53}, 5), ({1: 80}, 0)],
)
def test_falls(accuracies, rise):
    check = check_falls('eps', accuracies)
    assert check.value == rise and check.passed == (rise <= 1)
    assert check_falls('eps', accuracies, tolerance=5).passed


def test_large_eps_and_black_box():
    assert check_large_eps(0.0, 255).passed and not check_large_eps(0.5, 255).passed
    assert check_large_eps(10.0, 255, floor=10.0).passed
    assert check_black_box(50.0, 49.5, 'Square').passed and check_black_box(50.0, 80.0, 'Square').passed
    check = check_black_box(50.0, 45.0, 'Square')
    assert not check.passed and check.value == 5 and 'Square' in check.explanation


def test_random_noise_is_weaker_than_pgd_and_stays_in_the_budget(model, batches):
    for norm, eps in (('linf', 16), ('l2', 1.5)):
        noise, pgd = (
            accuracy_under(model, attack, batches) for attack in (RandomNoise(eps, norm), WhiteBox(eps, norm))
        )
        assert pgd < noise < clean_accuracy(model, batches)


def test_without_the_package_the_black_box_attack_is_noise(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'pyautoattack', None)
    attack, name = black_box_attack(4, 'linf')
    assert isinstance(attack, RandomNoise) and 'install pyautoattack' in name
