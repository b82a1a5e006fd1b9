"""Units, and 8 bits inside the budget."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aemim_mm.attacks import Budget
from aemim_mm.errors import UserError


def images(seed, whole):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(2, 3, 6, 5, generator=generator) * 300 - 20).clamp(0, 255)
    return x.round() if whole else x


def perturbed(budget, x, seed):
    """Anywhere in the ball, often at its edge."""
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(x.shape, generator=generator) * budget.pixels
    return budget.ball(x).project(x + delta)


def test_linf_is_in_pixels_and_l2_in_units_of_images_from_0_to_1():
    assert Budget(8).pixels == 8 and Budget(0.5, 'l2').pixels == 127.5
    assert Budget(8).to_pixels(2) == 2 and Budget(0.5, 'l2').to_pixels(0.1) == pytest.approx(25.5)


@settings(max_examples=60, deadline=None)
@given(eps=st.floats(0.5, 255), whole=st.booleans(), seed=st.integers(0, 10**6))
def test_linf_holds_in_8_bits(eps, whole, seed):
    x, budget = images(seed, whole), Budget(eps)
    got = budget.quantize(perturbed(budget, x, seed + 1), x).double()
    assert torch.equal(got, got.to(torch.uint8).double()), 'not 8 bits'
    assert (got - x.double()).abs().max() <= eps + 1e-4


@settings(max_examples=60, deadline=None)
@given(eps=st.floats(0.001, 10), seed=st.integers(0, 10**6))
def test_l2_holds_in_8_bits(eps, seed):
    x, budget = images(seed, whole=True), Budget(eps, 'l2')
    got = budget.quantize(perturbed(budget, x, seed + 1), x).double()
    assert torch.equal(got, got.to(torch.uint8).double()), 'not 8 bits'
    assert (got - x.double()).flatten(1).norm(dim=1).max() <= budget.pixels * (1 + 1e-5)


@settings(max_examples=30, deadline=None)
@given(eps=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_whole_images_and_budgets_are_exact_and_nothing_is_lost_at_the_edge(eps, seed):
    x, budget = images(seed, whole=True), Budget(eps)
    corner = budget.ball(x).project(x + 2 * eps * images(seed + 1, whole=True).sub(100).sign())
    assert torch.equal(budget.quantize(corner, x), corner)


def test_rounding_by_hand():
    x = torch.tensor([10.0, 10.0, 10.4, 10.6, 10.6, 0.4, 254.6]).reshape(1, 1, 1, -1)
    x_adv = torch.tensor([11.9, 8.1, 12.4, 8.6, 10.7, 0.0, 255.0]).reshape(1, 1, 1, -1)
    got = Budget(2).quantize(x_adv, x).flatten().numpy()
    np.testing.assert_array_equal(got, [11, 9, 12, 9, 11, 0, 255])


def test_eps_zero_changes_nothing():
    x = images(0, whole=False)
    assert torch.equal(Budget(0).quantize(x, x), x)


def test_l2_in_8_bits_needs_whole_pixels():
    x = images(0, whole=False)
    with pytest.raises(UserError, match='quantize=False, or norm to linf'):
        Budget(1, 'l2').quantize(x, x)


@pytest.mark.parametrize('eps', [0.03, 8 / 255, 0.499])
def test_a_fraction_is_refused_in_linf_and_fine_in_l2(eps):
    with pytest.raises(UserError, match='For a fraction such as 8/255, pass 8'):
        Budget(eps)
    assert Budget(eps, 'l2').pixels == pytest.approx(eps * 255)


@pytest.mark.parametrize('eps', [-1, 256, '4', None, float('nan'), True])
def test_linf_out_of_range(eps):
    with pytest.raises(UserError, match='in pixels, 0-255, but got'):
        Budget(eps)


@pytest.mark.parametrize('eps', [-1, float('inf'), '4', float('nan')])
def test_l2_out_of_range(eps):
    with pytest.raises(UserError, match='images from 0 to 1'):
        Budget(eps, 'l2')


def test_an_unknown_norm():
    with pytest.raises(UserError, match="norm 'l1'. Known: l2, linf"):
        Budget(1, 'l1')
