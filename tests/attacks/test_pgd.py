"""PGD against a loop of our own in NumPy, with gradients derived by hand."""

import numpy as np
import pytest
import torch

from aemim_mm.attacks import STARTS, pgd
from aemim_mm.errors import UserError


def numpy_pgd(gradient, x, *, eps, step_size, steps, lower, upper):
    delta = np.zeros_like(x)
    for _ in range(steps):
        delta = np.clip(delta + step_size * np.sign(gradient(x + delta)), -eps, eps)
        delta = np.clip(x + delta, lower, upper) - x
    return x + delta


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(0, 1, size=(2, 3, 4, 5))


CHANNELS = dict(eps=np.array([0.1, 0.2, 0.05]).reshape(3, 1, 1), step_size=np.array([0.04, 0.3, 0.05]).reshape(3, 1, 1))
EQUAL = dict(eps=0.1, step_size=0.03)


def run(objective, x, *, start='zero', **budget):
    steps = budget.pop('steps')
    budget = {name: torch.tensor(value, dtype=torch.float64) for name, value in budget.items()}
    return pgd(objective, torch.tensor(x), start=start, steps=steps, **budget).numpy()


@pytest.mark.parametrize('budget', [CHANNELS, EQUAL])
@pytest.mark.parametrize('steps', [0, 1, 2, 7])
def test_linear_objective(x, budget, steps):
    weights = np.random.default_rng(1).normal(size=x.shape)
    valid = dict(lower=0.05, upper=0.95, steps=steps)
    x = x.clip(0.05, 0.95)
    got = run(lambda images: (images * torch.tensor(weights)).sum(), x, **budget, **valid)
    np.testing.assert_allclose(got, numpy_pgd(lambda _: weights, x, **budget, **valid), atol=1e-12)


@pytest.mark.parametrize('budget', [CHANNELS, EQUAL])
@pytest.mark.parametrize('steps', [1, 2, 7])
def test_quadratic_objective_whose_gradient_changes_sign_on_the_way(x, budget, steps):
    top = x + np.random.default_rng(2).uniform(-0.1, 0.1, size=x.shape)
    valid = dict(lower=0.0, upper=1.0, steps=steps)
    got = run(lambda images: -(images - torch.tensor(top)).square().sum(), x, **budget, **valid)
    np.testing.assert_allclose(got, numpy_pgd(lambda at: -2 * (at - top), x, **budget, **valid), atol=1e-12)


def test_one_long_step_on_a_linear_objective_reaches_the_best_corner(x):
    weights = np.random.default_rng(1).normal(size=x.shape)
    budget = dict(eps=0.1, step_size=1.0, steps=1, lower=-9.0, upper=9.0)
    got = run(lambda images: (images * torch.tensor(weights)).sum(), x, **budget)
    np.testing.assert_allclose(got, x + 0.1 * np.sign(weights), atol=1e-12)


@pytest.mark.parametrize('start', sorted(STARTS))
def test_stays_in_the_ball_and_the_valid_range(x, start):
    torch.manual_seed(0)
    got = run(lambda images: images.square().sum(), x, **CHANNELS, steps=3, lower=0.0, upper=1.0, start=start)
    assert (np.abs(got - x).max(axis=(0, 2, 3)) <= CHANNELS['eps'].ravel() + 1e-12).all()
    assert got.min() >= 0 and got.max() <= 1


def test_a_pixel_outside_the_valid_range_may_stay_but_goes_no_further():
    x = np.array([-0.3, 1.4, 0.5]).reshape(1, 1, 1, 3)
    out = run(lambda images: ((images - 0.5) ** 2).sum(), x, eps=0.1, step_size=0.1, steps=3, lower=0.0, upper=1.0)
    np.testing.assert_allclose(out.ravel()[:2], [-0.3, 1.4])
    inward = run(lambda images: -((images - 0.5) ** 2).sum(), x, eps=0.1, step_size=0.1, steps=1, lower=0.0, upper=1.0)
    np.testing.assert_allclose(inward.ravel()[:2], [-0.2, 1.3])


def start_delta(start):
    torch.manual_seed(0)
    x = torch.full((50, 3, 20, 20), 0.5)
    x_adv = pgd(None, x, eps=torch.tensor(0.1), step_size=0.1, steps=0, lower=x * 0, upper=x * 0 + 1, start=start)
    return x_adv - x


def test_uniform_start_fills_the_ball_evenly():
    delta = start_delta('uniform').flatten().numpy()
    counts, _ = np.histogram(delta, bins=10, range=(-0.1, 0.1))
    assert counts.sum() == delta.size
    np.testing.assert_allclose(counts / delta.size, 0.1, atol=0.01)


def test_gaussian_start_has_deviation_eps_half_and_is_clipped():
    delta = start_delta('gaussian').numpy()
    assert np.abs(delta).max() == pytest.approx(0.1, abs=1e-6)
    # A normal variable of deviation 1/2, clipped at 1 (two deviations): 4.55 % are at the ends; its variance by hand.
    at_the_ends = np.mean(np.abs(delta) > 0.0999)
    assert at_the_ends == pytest.approx(0.0455, abs=0.005)
    noise = np.random.default_rng(0).normal(0, 0.05, size=10**6).clip(-0.1, 0.1)
    assert delta.std() == pytest.approx(noise.std(), rel=0.02)


def test_zero_steps_from_zero_is_the_input(x):
    np.testing.assert_array_equal(run(None, x, **EQUAL, steps=0, lower=0.0, upper=1.0), x)


def test_observe_sees_the_value_and_the_gradient_at_each_step(x):
    weights = torch.tensor(np.random.default_rng(1).normal(size=x.shape))
    seen = []
    one = torch.tensor(1.0)
    pgd(
        lambda images: (images * weights).sum(),
        torch.tensor(x),
        eps=9 * one,
        step_size=0.1,
        steps=2,
        lower=-9 * one,
        upper=9 * one,
        start='zero',
        observe=lambda value, gradient: seen.append((value, gradient)),
    )
    start = (torch.tensor(x) * weights).sum()
    torch.testing.assert_close(seen[0][0], start)
    torch.testing.assert_close(seen[1][0], start + 0.1 * weights.abs().sum())
    assert all(torch.equal(gradient, weights) and not value.requires_grad for value, gradient in seen)


def test_works_where_gradients_are_off_and_leaves_the_input_alone(x):
    images = torch.tensor(x)
    with torch.no_grad():
        out = pgd(
            lambda at: at.sum(),
            images,
            eps=torch.tensor(0.1),
            step_size=0.1,
            steps=1,
            lower=images * 0,
            upper=images * 0 + 1,
            start='zero',
        )
    np.testing.assert_array_equal(images.numpy(), x)
    assert not out.requires_grad and not images.requires_grad
    assert (out - images).max() == pytest.approx(0.1)


def test_an_unknown_start_lists_the_known_ones(x):
    with pytest.raises(UserError, match="start 'one'. Known: gaussian, uniform, zero"):
        run(None, x, **EQUAL, steps=0, lower=0.0, upper=1.0, start='one')
