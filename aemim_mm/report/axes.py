"""Round ticks, their labels, and the map from data to drawing units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator


@dataclass(frozen=True)
class Axis:
    """Map data values to drawing units.

    Args:
        ticks: Increasing values that get a gridline.
        low, high: Data values at the two ends; both > 0 if ``log``.
        start, end: Drawing units at the two ends.
        log: Whether the axis is logarithmic.
    """

    ticks: Sequence[float]
    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of ``value`` in drawing units."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def labels(self) -> list[str]:
        """Return one label for each tick, with the same number of decimals on a linear axis."""
        biggest = max(abs(tick) for tick in self.ticks)
        if self.log or biggest >= 1e6 or biggest < 1e-3:
            return [short(tick) for tick in self.ticks]
        # The exponent of a finite number is an int.
        exponents = [int(Decimal(f'{tick:.9g}').normalize().as_tuple().exponent) for tick in self.ticks]
        return [f'{tick:,.{max(-min(exponents), 0)}f}' for tick in self.ticks]


def short(value: float) -> str:
    """Return a number with four significant digits, such as ``0.4123``, ``1,250``, ``2e-5`` or ``nan``."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f'{value:.4g}' if abs(value) < 1000 else f'{value:,.0f}'
    mantissa, exponent = f'{value:.3e}'.split('e')
    return f'{float(mantissa):g}e{int(exponent)}'


def widen(low: float, high: float, *, whole: bool = False) -> tuple[float, float]:
    """Return the range, made wider if it holds a single value, so that it can be drawn.

    Args:
        low, high: The range of the data, ``low <= high``.
        whole: Whether the data are whole numbers; then the margin is half a step.
    """
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = 0.5 if whole else abs(low) * 0.1 or 1.0
    return low - margin, high + margin


def round_ticks(low: float, high: float, *, log: bool = False, whole: bool = False) -> list[float]:
    """Return round numbers that cover a range.

    Args:
        low, high: The range, ``low < high``; ``0 < low`` if ``log``.
        log: Return powers of ten, and their multiples by 2 and 5 up to three decades. A range below a factor of 3 gets
            evenly spaced ticks all the same.
        whole: Return whole numbers only.

    Returns:
        3 to 11 increasing numbers. The first is <= ``low``, the last >= ``high``, and all others lie between.
    """
    if not log or high / low < 3:
        # A range that ends on a tick, up to rounding, needs no tick beyond it.
        slack = 0 if whole else 1e-9 * (high - low)
        locator = MaxNLocator(5, steps=(1, 2, 5, 10), integer=whole, min_n_ticks=1)
        return np.asarray(locator.tick_values(low + slack, high - slack)).tolist()
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    locator = LogLocator(subs=(1, 2, 5) if last - first <= 3 else (1,), numticks=7)
    ticks = np.asarray(locator.tick_values(10.0**first, 10.0**last))
    begin, end = np.searchsorted(ticks, low * (1 + 1e-9), side='right') - 1, np.searchsorted(ticks, high * (1 - 1e-9))
    return ticks[begin : end + 1].tolist()
