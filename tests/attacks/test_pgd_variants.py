"""Momentum, step halving and L2 steps against loops in NumPy, and against foolbox from the same start."""

import numpy as np
import pytest
import torch
from torch import nn

from aemim_mm.attacks import PGD, PixelSpace, pgd
from aemim_mm.errors import UserError

CENTRE = np.random.default_rng(2).normal(size=(3, 2, 4, 5))


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(0.2, 0.8, size=(3, 2, 4, 5))


def values(images):
    """A wavy objective, one value for each image, whose gradient is ``gradient``."""
    return (torch.sin(7 * images) * torch.tensor(CENTRE)).flatten(1).sum(1)


def gradient(x):
    return 7 * np.cos(7 * x) * CENTRE


def value_of(x):
    return (np.sin(7 * x) * CENTRE).reshape(len(x), -1).sum(1)


def norm(x):
    return np.sqrt((x**2).reshape(len(x), -1).sum(1)).reshape(-1, 1, 1, 1)


def project(x_adv, x, eps, kind):
    delta = x_adv - x
    delta = delta.clip(-eps, eps) if kind == 'linf' else delta * np.minimum(1, eps / norm(delta))
    return (x + delta).clip(0, 1)


def direction(found, kind):
    return np.sign(found) if kind == 'linf' else found / norm(found)


def run(x, **options):
    return pgd(values, torch.tensor(x), lower=0.0, upper=1.0, start='zero', **options).numpy()


@pytest.mark.parametrize('kind', ['linf', 'l2'])
@pytest.mark.parametrize('momentum', [0.5, 1.0])
def test_momentum_is_mi_fgsm(x, kind, momentum):
    x_adv, velocity = x, 0
    for _ in range(6):
        found = gradient(x_adv)
        velocity = momentum * velocity + found / np.abs(found).mean(axis=(1, 2, 3), keepdims=True)
        x_adv = project(x_adv + 0.07 * direction(velocity, kind), x, 0.2, kind)
    got = run(x, eps=0.2, step_size=0.07, steps=6, norm=kind, momentum=momentum)
    np.testing.assert_allclose(got, x_adv, atol=1e-12)


@pytest.mark.parametrize('kind', ['linf', 'l2'])
def test_halving_goes_back_to_the_best_point_with_half_the_step(x, kind):
    eps, steps = 0.6, 9
    expected, halvings = [], 0
    for image in x:
        image = image[None]
        at, best, best_value, step = image, image, -np.inf, 0.5
        index = len(expected)
        for _ in range(steps):
            found = value_of_one(at, index)
            if found > best_value:
                best, best_value = at, found
            else:
                step, halvings = step / 2, halvings + 1
            slope = 7 * np.cos(7 * best) * CENTRE[index]
            at = project(best + step * direction(slope, kind), image, eps, kind)
        expected.append((at if value_of_one(at, index) > best_value else best)[0])
    got = run(x, eps=eps, step_size=0.5, steps=steps, norm=kind, halving=True)
    assert halvings > 3, 'a case in which steps are halved'
    np.testing.assert_allclose(got, np.stack(expected), atol=1e-12)
    plain = run(x, eps=eps, step_size=0.5, steps=steps, norm=kind)
    assert (value_of(got) >= value_of(plain)).all() and (value_of(got) > value_of(plain)).any()


def value_of_one(image, index):
    return (np.sin(7 * image[0]) * CENTRE[index]).sum()


def test_halving_needs_a_value_for_each_image(x):
    with pytest.raises(UserError, match=r'an objective for each image, but got one of shape \(\)'):
        pgd(
            lambda at: values(at).sum(),
            torch.tensor(x),
            eps=1.0,
            step_size=1.0,
            steps=1,
            lower=0,
            upper=1,
            halving=True,
        )


def test_an_l2_ball_in_normalised_units_is_a_ball_in_pixels(x):
    """Each channel has its own deviation."""
    pixels = torch.tensor(x) * 255
    space = PixelSpace(
        torch.tensor([100.0, 50.0]).view(2, 1, 1).double(), torch.tensor([60.0, 20.0]).view(2, 1, 1).double()
    )
    attack = PGD(0.5, norm='l2', steps=4, start='zero')
    expected = attack.maximize(lambda at: values(at / 255).sum(), pixels)
    got = attack.maximize(lambda at: values(space.denormalize(at) / 255).sum(), space.normalize(pixels), space)
    torch.testing.assert_close(space.denormalize(got), expected)
    sizes = (expected - pixels).flatten(1).norm(dim=1) / 255
    assert sizes.max().item() == pytest.approx(0.5) and sizes.min() > 0.4


@pytest.mark.parametrize(('kind', 'eps'), [('linf', 0.03), ('l2', 0.5)])
def test_pgd_equals_foolboxs_from_the_same_start(kind, eps):
    foolbox = pytest.importorskip('foolbox')
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 5)).eval()
    images, labels = torch.rand(4, 3, 4, 4), torch.randint(5, (4,))
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device='cpu')
    kinds = dict(
        linf=foolbox.attacks.LinfProjectedGradientDescentAttack, l2=foolbox.attacks.L2ProjectedGradientDescentAttack
    )
    attack = kinds[kind](abs_stepsize=eps / 4, steps=7, random_start=False)
    expected, _, _ = attack(model, images, labels, epsilons=eps)
    got = pgd(
        lambda at: nn.functional.cross_entropy(network(at), labels, reduction='sum'),
        images, eps=eps, step_size=eps / 4, steps=7, lower=0.0, upper=1.0, start='zero', norm=kind,
    )  # fmt: skip
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert (expected - images).abs().max() > eps / 20
