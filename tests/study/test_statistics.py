"""Paired statistics against SciPy and against simulation."""

import numpy as np
import pytest
from scipy import stats

from aemim_mm.study.statistics import holm, paired_difference, smallest_visible


@pytest.mark.parametrize('pairs', [2, 8, 12])
def test_the_difference_equals_scipys_paired_t_test(pairs):
    generator = np.random.default_rng(pairs)
    baseline = generator.normal(70, 3, pairs)
    values = baseline + generator.normal(0.4, 1, pairs)
    found, expected = paired_difference(values, baseline), stats.ttest_rel(values, baseline)
    interval = expected.confidence_interval(0.95)
    assert found.pairs == pairs
    np.testing.assert_allclose(
        (found.mean, found.low, found.high, found.p_value),
        (np.mean(values - baseline), interval.low, interval.high, expected.pvalue),
    )
    for bound, side in ((found.least, 'greater'), (found.most, 'less')):
        one_sided = stats.ttest_rel(values, baseline, alternative=side).confidence_interval(0.95)
        assert bound == pytest.approx(one_sided.low if side == 'greater' else one_sided.high)
    assert found.visible == pytest.approx(np.std(values - baseline, ddof=1) * smallest_visible(pairs))


def test_too_few_pairs_and_no_scatter():
    assert paired_difference([3.0], [1.0]) == (2.0, *4 * [None], 1, None, None)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == (*5 * [0.0], 2, 0.0, 1.0)
    assert paired_difference([2.0, 3.0], [1.0, 2.0]) == (*5 * [1.0], 2, 0.0, 0.0)


def test_the_smallest_visible_difference_is_seen_in_four_of_five_studies():
    assert smallest_visible(8) == pytest.approx(1.16, abs=0.005)
    assert smallest_visible(12) == pytest.approx(0.89, abs=0.005)
    differences = np.random.default_rng(0).normal(smallest_visible(8), 1, (20_000, 8))
    assert np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_holms_adjustment_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.9 x 1; each at least the one before, at most 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
