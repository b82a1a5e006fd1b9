"""Corruption errors, performance under corruption, and confidence intervals."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..datasets.corruptions import CORRUPTIONS, SEVERITIES
from ..errors import UserError, first_of

# Top-1 errors of AlexNet on ImageNet-C, mean over the severities. Other code bases list them in another order.
ALEXNET_ERRORS = {
    'gaussian_noise': 0.886428,
    'shot_noise': 0.894468,
    'impulse_noise': 0.922640,
    'defocus_blur': 0.819880,
    'glass_blur': 0.826268,
    'motion_blur': 0.785948,
    'zoom_blur': 0.798360,
    'snow': 0.866816,
    'frost': 0.826572,
    'fog': 0.819324,
    'brightness': 0.564592,
    'contrast': 0.853204,
    'elastic_transform': 0.646056,
    'pixelate': 0.717840,
    'jpeg_compression': 0.606500,
}


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval; for accuracies in percent or percentage points."""

    estimate: float
    low: float
    high: float


def corruption_errors(accuracies: dict) -> dict:
    """Compute the mean corruption error (mCE) and the plain mean error.

    For mCE, the error under each corruption is averaged over its severities and divided by AlexNet's error; the result
    is averaged over the 15 corruptions. Some code bases call the plain mean error mCE. On ImageNet, report mCE.

    Args:
        accuracies: ``{corruption: {severity: top-1 in percent}}``, all 15 corruptions at all 5 severities.

    Returns:
        ``mce`` and ``mean_error`` in percent, and ``errors``: ``{corruption: error in percent}``.

    Raises:
        UserError: A corruption or severity is missing or unknown, or a value is not from 0 to 100.

    Source: Hendrycks and Dietterich, arXiv 1903.12261, section 4.1; AlexNet's errors as in AugMix, arXiv 1912.02781.
    """
    _check_complete(accuracies, 'accuracies in percent', 100)
    errors = {name: 100 - float(np.mean([accuracies[name][s] for s in SEVERITIES])) for name in CORRUPTIONS}
    relative = [errors[name] / ALEXNET_ERRORS[name] for name in CORRUPTIONS]
    return dict(mce=float(np.mean(relative)), mean_error=float(np.mean(list(errors.values()))), errors=errors)


def performance_under_corruption(clean: float, scores: dict) -> dict:
    """Compute the mean (mPC) and relative (rPC) performance under corruption, as mmdet defines them.

    Args:
        clean: AP on the clean images, P: from 0 to 1, or from 0 to 100, like ``scores``.
        scores: ``{corruption: {severity: AP}}``, all 15 corruptions at all 5 severities.

    Returns:
        ``P`` and ``mPC`` in the unit of the input, and ``rPC`` = mPC / P in percent, or None if P is 0.

    Raises:
        UserError: A corruption or severity is missing or unknown, or a value is out of range.

    Source: Michaelis et al., arXiv 1907.07484, equations 1 and 2.
    """
    _check_complete(scores, 'APs from 0 to 1 or to 100', 100)
    mean = float(np.mean([scores[name][severity] for name in CORRUPTIONS for severity in SEVERITIES]))
    return dict(P=float(clean), mPC=mean, rPC=100 * mean / clean if clean else None)


def _check_complete(values: dict, what: str, highest: float) -> None:
    unknown = [name for name in values if name not in CORRUPTIONS]
    if unknown:
        raise UserError(f'Unknown corruption {unknown[0]!r}. Known: {", ".join(CORRUPTIONS)}.')
    missing = [f'{name} {s}' for name in CORRUPTIONS for s in SEVERITIES if s not in values.get(name, {})]
    if missing:
        raise UserError(
            f'Expected all {len(CORRUPTIONS)} corruptions at the severities 1-5, but {len(missing)} are missing: '
            f'{first_of(missing)}. Evaluate them as well; a mean over the others is a different metric.'
        )
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            if not 0 <= values[name][severity] <= highest:
                raise UserError(f'Expected {what}, but got {values[name][severity]} for {name} {severity}.')


def accuracy_interval(correct: ArrayLike, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Compute an accuracy with a percentile bootstrap interval over images.

    Args:
        correct: Whether each image was classified correctly, ``(images,)``. For a mean over several conditions: the
            share of the conditions, from 0 to 1, under which it was.
        resamples: Number of resamples, >= 1.
        level: Confidence level, in (0, 1).
        seed: Seed of the resampling.

    Returns:
        The accuracy and the ends of its interval in percent.

    Raises:
        UserError: There is no image, or a value is not from 0 to 1.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    return _mean_interval(_checked(correct), resamples, level, seed)


def paired_difference(
    correct_a: ArrayLike, correct_b: ArrayLike, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Compute the accuracy of model A minus that of model B, with a paired percentile bootstrap interval.

    Args:
        correct_a, correct_b: As in :func:`accuracy_interval`, for the same images in the same order.
        resamples, level, seed: As in :func:`accuracy_interval`.

    Returns:
        The difference and the ends of its interval in percentage points. If the interval does not contain 0, the models
        differ.

    Raises:
        UserError: The lengths differ, there is no image, or a value is not from 0 to 1.
    """
    a, b = _checked(correct_a), _checked(correct_b)
    if len(a) != len(b):
        raise UserError(f'A paired difference needs the same images, but got {len(a)} and {len(b)}.')
    return _mean_interval(a - b, resamples, level, seed)


def grouped_interval(
    values: ArrayLike, groups: ArrayLike, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Compute the mean of values with a percentile bootstrap interval over groups of images (a cluster bootstrap).

    Values of one group are not independent, so whole groups are drawn.

    Args:
        values: One value for each image, ``(images,)``, in any unit.
        groups: The group of each image, such as the number of its batch.
        resamples, level, seed: As in :func:`accuracy_interval`.

    Returns:
        The mean and the ends of its interval, which are NaN if there is only one group.

    Raises:
        UserError: There is no image, or a value is not finite.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise UserError(f'Expected a finite number for each image, but got {values[~np.isfinite(values)][:3]}.')
    _, index = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(index, values), np.bincount(index)
    mean = float(values.mean())
    if len(sums) == 1:
        return Interval(mean, float('nan'), float('nan'))
    generator, means = np.random.default_rng(seed), np.empty(resamples)
    for number in range(resamples):  # In a loop, because all draws at once would take gigabytes.
        drawn = generator.integers(len(sums), size=len(sums))
        means[number] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def median_interval(values: ArrayLike, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Compute a median with a percentile bootstrap interval over images.

    Args:
        values: One value for each image, ``(images,)``, in any unit; infinite values count as larger than all others.
        resamples, level, seed: As in :func:`accuracy_interval`.

    Returns:
        The median and the ends of its interval; NaN if there is no image.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not len(ordered):
        return Interval(float('nan'), float('nan'), float('nan'))
    # The median of the ranks is the rank of the median. Ranks are finite, where a mean of infinite values is not.
    generator = np.random.default_rng(seed)
    ranks = [np.median(generator.integers(len(ordered), size=len(ordered))) for _ in range(resamples)]
    low, high = (ordered[int(rank)] for rank in np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2]))
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    estimate = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    return Interval(float(estimate), float(low), float(high))


def _checked(values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise UserError(f'Expected one value from 0 to 1 for each image, but got an array of shape {values.shape}.')
    return values


def _mean_interval(values, resamples, level, seed) -> Interval:
    """Compute the mean in percent with a bootstrap interval.

    A resample of the images is a multinomial draw of how often each distinct value occurs. This is exact, and fast
    because there are few distinct values.
    """
    if resamples < 1 or not 0 < level < 1:
        raise UserError(f'Expected resamples >= 1 and a level between 0 and 1, but got {resamples} and {level}.')
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    means = 100 * (draws @ distinct) / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(100 * values.mean()), float(low), float(high))
