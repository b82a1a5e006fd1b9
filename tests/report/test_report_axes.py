"""Ticks are round, cover the data, and are labelled with their exact value."""

import math
from decimal import Decimal

import numpy as np
import pytest

from aemim_mm.report.axes import Axis, round_ticks, short, widen

RANGES = [
    (0, 1),
    (1, 20),
    (0.0031, 0.0092),
    (-3, 5),
    (0.1, 0.30000000000000004),
    (1e5, 4.8e6),
    (-2e-7, 1e-7),
    (99.5, 99.6),
]


def is_round(step):
    """Return whether a number is 1, 2 or 5 times a power of ten."""
    return Decimal(f'{step:.6e}').normalize().as_tuple().digits in ((1,), (2,), (5,))


@pytest.mark.parametrize(('low', 'high'), RANGES)
def test_ticks_are_round_and_cover_the_range(low, high):
    ticks = round_ticks(low, high)
    steps = np.diff(ticks)
    assert is_round(steps[0])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    # Every tick is a multiple of the step, so zero is a tick whenever it is in range.
    np.testing.assert_allclose(np.round(np.array(ticks) / steps[0]), np.array(ticks) / steps[0], atol=1e-6)
    slack = 1e-8 * (high - low)
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    # Not more than needed: without its first or last tick, the range would stick out.
    assert ticks[1] > low and ticks[-2] < high
    assert 3 <= len(ticks) <= 8


@pytest.mark.parametrize(('low', 'high'), [(1, 2), (0, 3), (1, 20), (0, 1875)])
def test_ticks_of_whole_numbers_are_whole(low, high):
    assert all(tick == int(tick) for tick in round_ticks(low, high, whole=True))


@pytest.mark.parametrize(
    ('low', 'high'), [(4, 120), (1, 1000), (0.9, 1.1), (3e-7, 2e4), (1e-10, 0.3), (0.5, 6), (1, 10)]
)
def test_log_ticks_are_round_and_cover_the_range(low, high):
    ticks = round_ticks(low, high, log=True)
    assert ticks[0] <= low * (1 + 1e-8) and ticks[-1] >= high * (1 - 1e-8)
    assert ticks[1] > low and ticks[-2] < high
    assert ticks == sorted(set(ticks)) and 3 <= len(ticks) <= 11
    if high / low >= 3:
        assert all(is_round(tick) for tick in ticks)


@pytest.mark.parametrize(('low', 'high'), RANGES)
def test_labels_state_the_ticks(low, high):
    axis = Axis(round_ticks(low, high), low, high, 0, 1)
    stated = [float(label.replace(',', '')) for label in axis.labels()]
    np.testing.assert_allclose(stated, axis.ticks, rtol=1e-9, atol=1e-12)


def test_axis_is_linear_or_logarithmic():
    assert Axis([0, 10], 0, 10, 300, 40)(2.5) == pytest.approx(235)
    assert Axis([1, 100], 1, 100, 300, 40, log=True)(10) == pytest.approx(170)


def test_a_single_value_gets_a_range_around_it():
    assert widen(0.25, 0.25) == pytest.approx((0.225, 0.275))
    assert widen(0, 0) == (-1, 1)
    assert widen(3, 3, whole=True) == (2.5, 3.5)
    assert widen(1, 2) == (1, 2)


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (0.41234, '0.4123'),
        (1250, '1,250'),
        (2e-5, '2e-5'),
        (-3.14159, '-3.142'),
        (4.8e6, '4.8e6'),
        (1e38, '1e38'),
    ],
)
def test_short_numbers(value, text):
    assert short(value) == text
    assert math.isclose(float(text.replace(',', '')), value, rel_tol=1e-3)
