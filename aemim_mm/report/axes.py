"""Round ticks, their labels, and the map from data to drawing units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


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
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = math.log(value) if self.log else value
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def labels(self) -> list[str]:
        """Return one label for each tick, with the same number of decimals on a linear axis."""
        biggest = max(abs(tick) for tick in self.ticks)
        if self.log or biggest >= 1e6 or biggest < 1e-3:
            return [short(tick) for tick in self.ticks]
        exact = (d for d in range(9) if all(abs(round(t, d) - t) <= 1e-9 * biggest for t in self.ticks))
        decimals = next(exact, 9)
        return [f'{tick:,.{decimals}f}' for tick in self.ticks]


def short(value: float) -> str:
    """Return a number with four significant digits, such as ``0.4123``, ``1,250`` or ``2e-5``."""
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


def nice_ticks(low: float, high: float, *, count: int = 5, whole: bool = False) -> list[float]:
    """Return evenly spaced round numbers that cover a range.

    Args:
        low, high: The range, ``low < high``.
        count: About as many intervals are made; at most ``count + 1``.
        whole: Whether ticks have to be whole numbers.

    Returns:
        Multiples of 1, 2 or 5 times a power of ten; the first is <= ``low``, the last >= ``high``.
    """
    raw = (high - low) / count
    power = math.floor(math.log10(raw))
    mantissa = next(m for m in (1, 2, 5, 10) if m * 10.0**power >= raw * (1 - 1e-9))
    if whole and power < 0:
        mantissa, power = 1, 0
    step = mantissa * 10.0**power
    # The slack keeps a range that ends on a tick, up to rounding, from getting one tick more.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Dividing by a whole number gives 0.3 where multiplying by 0.1 gives 0.30000000000000004.
    return [i * mantissa / 10.0**-power if power < 0 else i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers that cover a range on a logarithmic axis.

    Args:
        low, high: The range, ``0 < low < high``.

    Returns:
        Powers of ten; with their multiples by 2 and 5 up to three decades; evenly spaced numbers below a factor of 3.
    """
    if high / low < 3:
        return nice_ticks(low, high)
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    mantissas = (1, 2, 5) if last - first <= 3 else (1,)
    stride = math.ceil((last - first) / 6)
    ticks = [float(f'{m}e{e}') for e in range(first, last + stride, stride) for m in mantissas]
    begin = max(i for i, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    end = min(i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[begin : end + 1]
