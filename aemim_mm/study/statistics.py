"""Statistics of runs that are paired by seed."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

POWER, LEVEL = 0.8, 0.05


class PairedDifference(NamedTuple):
    """The mean difference between two methods, over pairs of runs with the same seed.

    Attributes:
        mean: Mean of the differences.
        low, high: Ends of the 95 % t interval. None for fewer than two pairs, as all below.
        pairs: Number of pairs.
        least, most: One-sided bounds: the mean difference is at least ``least`` with a confidence of 95 %, and at most
            ``most`` with the same.
        visible: The difference that this number of pairs shows with a probability of 80 %, if the differences scatter
            as they do here.
        p_value: Of the two-sided paired t test.
    """

    mean: float
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    pairs: int
    visible: float | None
    p_value: float | None


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
    """Compare two methods by the paired t test.

    Args:
        values, baseline: One figure for each seed, in the same order of seeds; at least one.
    """
    differences = np.subtract(values, baseline, dtype=float)
    pairs, mean = len(differences), float(differences.mean())
    if pairs < 2:
        return PairedDifference(mean, None, None, None, None, pairs, None, None)
    deviation = float(differences.std(ddof=1))
    error = deviation / math.sqrt(pairs)
    half, bound = (float(stats.t.ppf(1 - level, pairs - 1)) * error for level in (LEVEL / 2, LEVEL))
    # Equal differences have no scatter: then any difference at all is sure.
    p_value = 2 * float(stats.t.sf(abs(mean) / error, pairs - 1)) if error else float(mean == 0)
    ends = mean - half, mean + half, mean - bound, mean + bound
    return PairedDifference(mean, *ends, pairs, deviation * smallest_visible(pairs), p_value)


def smallest_visible(pairs: int) -> float:
    """Return the mean difference that a paired t test at the level 5 % sees with a probability of 80 %.

    Args:
        pairs: Number of pairs, >= 2.

    Returns:
        The difference, in standard deviations of the differences.
    """
    threshold = stats.t.ppf(1 - LEVEL / 2, pairs - 1)
    # The noncentrality at which t exceeds the threshold so often. The other tail has no probability that matters.
    return float(special.nctdtrinc(pairs - 1, 1 - POWER, threshold)) / math.sqrt(pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number by Holm's step-down method.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(np.maximum.accumulate(np.take(p_values, order) * factors), 1)
    result = np.empty(len(p_values))
    result[order] = adjusted
    return result.tolist()
