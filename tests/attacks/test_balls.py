"""Projections, starts and steps of the L2 ball against NumPy; momentum and FGSM against loops of our own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aemim_mm.attacks import PGD, PixelSpace, ball_around, pgd
from aemim_mm.errors import UserError

LOWER, UPPER = 0.0, 1.0


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(0, 1, size=(3, 2, 4, 5))


def norms(x):
    return np.sqrt((x**2).reshape(len(x), -1).sum(1))


def numpy_l2_pgd(gradient, x, *, eps, step_size, steps):
    at = x
    for _ in range(steps):
        g = gradient(at)
        at = at + step_size * g / norms(g).reshape(-1, 1, 1, 1)
        delta = at - x
        delta = delta * np.minimum(1, eps / norms(delta)).reshape(-1, 1, 1, 1)
        at = np.clip(x + delta, LOWER, UPPER)
    return at


def run(objective, x, **budget):
    return pgd(objective, torch.tensor(x), lower=LOWER, upper=UPPER, start='zero', **budget).numpy()


@pytest.mark.parametrize('steps', [1, 2, 7])
def test_l2_on_a_linear_objective(x, steps):
    weights = np.random.default_rng(1).normal(size=x.shape)
    budget = dict(eps=0.7, step_size=0.3, steps=steps)
    got = run(lambda images: (images * torch.tensor(weights)).sum(), x, norm='l2', **budget)
    np.testing.assert_allclose(got, numpy_l2_pgd(lambda _: weights, x, **budget), atol=1e-12)


@pytest.mark.parametrize('steps', [2, 7])
def test_l2_on_a_quadratic_objective(x, steps):
    top = x + np.random.default_rng(2).uniform(-0.1, 0.1, size=x.shape)
    budget = dict(eps=0.3, step_size=0.2, steps=steps)
    got = run(lambda images: -(images - torch.tensor(top)).square().sum(), x, norm='l2', **budget)
    np.testing.assert_allclose(got, numpy_l2_pgd(lambda at: -2 * (at - top), x, **budget), atol=1e-12)


def test_one_image_does_not_change_the_step_of_another(x):
    weights = torch.tensor(np.random.default_rng(1).normal(size=x.shape))
    scale = torch.tensor([1.0, 1e6, 1e-6]).reshape(3, 1, 1, 1)
    budget = dict(norm='l2', eps=0.7, step_size=0.3, steps=3, momentum=1.0)
    got = run(lambda images: (images * weights * scale).sum(), x, **budget)
    np.testing.assert_allclose(got, run(lambda images: (images * weights).sum(), x, **budget), atol=1e-7)


def test_a_zero_gradient_moves_nothing_and_gives_no_nan(x):
    for norm in ('l2', 'linf'):
        got = run(lambda images: images.sum() * 0, x, norm=norm, eps=0.7, step_size=0.3, steps=2, momentum=1.0)
        np.testing.assert_array_equal(got, x)


@settings(max_examples=50, deadline=None)
@given(
    norm=st.sampled_from(['linf', 'l2']),
    start=st.sampled_from(['uniform', 'gaussian', 'zero']),
    eps=st.floats(0, 300),
    step=st.floats(0, 300),
    seed=st.integers(0, 1000),
)
def test_stays_in_the_ball_and_the_valid_range(norm, start, eps, step, seed):
    torch.manual_seed(seed)
    x = (torch.rand(2, 3, 4, 4) * 300 - 20).clamp(0, 255)
    weights = torch.randn_like(x)
    objective = lambda images: (images * weights).sum()  # noqa: E731
    got = pgd(objective, x, eps=eps, step_size=step, steps=3, lower=0.0, upper=255.0, start=start, norm=norm)
    delta = (got - x).abs()
    size = delta.max() if norm == 'linf' else delta.flatten(1).norm(dim=1).max()
    assert size <= eps * (1 + 1e-5) + 1e-4
    assert got.min() >= 0 and got.max() <= 255


def test_l2_uniform_start_fills_the_ball_evenly():
    torch.manual_seed(0)
    x = torch.full((4000, 1, 2, 2), 0.5)
    delta = ball_around(x, norm='l2', eps=0.3, lower=LOWER, upper=UPPER).start('uniform') - x
    # In 4 dimensions, the share within radius r is (r / eps) ** 4; each direction is as likely as its opposite.
    radius = delta.flatten(1).norm(dim=1).numpy() / 0.3
    assert radius.max() <= 1 + 1e-6
    for share in (0.25, 0.5, 0.75):
        assert np.mean(radius <= share**0.25) == pytest.approx(share, abs=0.03)
    assert delta.flatten(1).mean(0).abs().max() < 0.01


def test_l2_gaussian_start_has_a_norm_of_about_half_the_radius():
    torch.manual_seed(0)
    x = torch.full((50, 3, 16, 16), 0.5)
    delta = ball_around(x, norm='l2', eps=0.4, lower=LOWER, upper=UPPER).start('gaussian') - x
    np.testing.assert_allclose(delta.flatten(1).norm(dim=1).numpy(), 0.2, rtol=0.1)


def test_momentum_is_mi_fgsm(x):
    """The gradients' signs differ from those of their sum, so that the past counts."""
    top = x + np.random.default_rng(2).uniform(-0.1, 0.1, size=x.shape)
    budget = dict(eps=0.1, step_size=0.06, steps=4)
    velocity, at = 0, x
    for _ in range(4):
        gradient = -2 * (at - top)
        velocity = 0.9 * velocity + gradient / np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
        at = np.clip(at + 0.06 * np.sign(velocity), x - 0.1, x + 0.1).clip(LOWER, UPPER)
    objective = lambda images: -(images - torch.tensor(top)).square().sum()  # noqa: E731
    got = run(objective, x, momentum=0.9, **budget)
    np.testing.assert_allclose(got, at, atol=1e-12)
    assert not np.allclose(got, run(objective, x, **budget))


@pytest.mark.parametrize(('norm', 'eps', 'length'), [('linf', 4, 4), ('l2', 0.2, 0.2 * 255)])
def test_fgsm_is_one_step_of_size_eps(x, norm, eps, length):
    weights, x = np.random.default_rng(1).normal(size=x.shape), 255 * x
    attack = PGD(eps, norm, steps=1, step_size=eps, start='zero')
    got = attack.maximize(lambda images: (images * torch.tensor(weights)).sum(), torch.tensor(x))
    direction = np.sign(weights) if norm == 'linf' else weights / norms(weights).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(got.numpy(), np.clip(x + length * direction, 0, 255), atol=1e-9)


def test_an_unknown_norm_lists_the_known_ones(x):
    with pytest.raises(UserError, match="norm 'l1'. Known: l2, linf"):
        run(None, x, norm='l1', eps=1, step_size=1, steps=1)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
@pytest.mark.parametrize('normalized', [True, False])
def test_numbers_as_bounds_equal_tensors_bit_for_bit(norm, normalized):
    """The oracle is the definition, with tensors."""
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    shape = (3, 1, 1)
    space = PixelSpace(torch.tensor([0.48, 0.45, 0.4]).view(shape), torch.tensor([0.22, 0.3, 0.25]).view(shape))
    space = space if normalized else PixelSpace()
    lower, upper = (space.normalize(torch.tensor(bound)) for bound in (LOWER, UPPER))
    low, high = torch.minimum(lower, x), torch.maximum(upper, x)
    if norm == 'linf':
        low, high = torch.maximum(x - 0.2, low), torch.minimum(x + 0.2, high)
    ball = ball_around(x, norm=norm, eps=0.2, lower=space.normalize(LOWER), upper=space.normalize(UPPER))
    assert torch.equal(ball.low, low) and torch.equal(ball.high, high)
