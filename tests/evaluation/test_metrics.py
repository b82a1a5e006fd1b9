"""Corruption errors, performance under corruption, and bootstrap intervals, against NumPy, SciPy and closed forms."""

import numpy as np
import pytest

from aemim_mm.datasets.corruptions import CORRUPTIONS
from aemim_mm.errors import UserError
from aemim_mm.evaluation.metrics import (
    ALEXNET_ERRORS,
    accuracy_interval,
    corruption_errors,
    median_interval,
    paired_difference,
    performance_under_corruption,
)

SEVERITIES = range(1, 6)


def table(values):
    """``{corruption: {severity: value}}`` of an array (15, 5)."""
    return {name: dict(zip(SEVERITIES, row)) for name, row in zip(CORRUPTIONS, values.tolist())}


@pytest.fixture
def accuracies():
    return np.random.default_rng(0).uniform(20, 80, (15, 5))


def test_mce_equals_the_formula(accuracies):
    alexnet = np.array([ALEXNET_ERRORS[name] for name in CORRUPTIONS])
    errors = 100 - accuracies
    got = corruption_errors(table(accuracies))
    assert got['mce'] == pytest.approx(np.mean(100 * errors.sum(axis=1) / (500 * alexnet)))
    assert got['mean_error'] == pytest.approx(errors.mean())
    assert list(got['errors'].values()) == pytest.approx(errors.mean(axis=1))
    # By name, not by place.
    turned = dict(reversed(table(accuracies).items()))
    assert corruption_errors(turned)['mce'] == pytest.approx(got['mce'])


def test_alexnet_has_an_mce_of_100():
    """And its mean error is the mean of its own."""
    itself = {name: dict.fromkeys(SEVERITIES, 100 * (1 - error)) for name, error in ALEXNET_ERRORS.items()}
    got = corruption_errors(itself)
    assert got['mce'] == pytest.approx(100)
    assert got['mean_error'] == pytest.approx(78.9, abs=0.01)
    assert set(ALEXNET_ERRORS) == set(CORRUPTIONS)


def test_a_uniform_error_by_hand():
    """Error 40 % everywhere: 40 times the mean of AlexNet's inverses."""
    got = corruption_errors(table(np.full((15, 5), 60.0)))
    assert got['mean_error'] == pytest.approx(40)
    assert got['mce'] == pytest.approx(40 * sum(1 / error for error in ALEXNET_ERRORS.values()) / 15)


@pytest.mark.parametrize('function', [corruption_errors, lambda values: performance_under_corruption(50, values)])
def test_incomplete_and_wrong_tables(function, accuracies):
    values = table(accuracies)
    del values['snow'][4]
    with pytest.raises(UserError, match='1 are missing: snow 4'):
        function(values)
    del values['fog'], values['frost']
    with pytest.raises(UserError, match='11 are missing: snow 4, frost 1.* and 6 more'):
        function(values)
    with pytest.raises(UserError, match="Unknown corruption 'rain'"):
        function({**table(accuracies), 'rain': {}})
    values = table(accuracies)
    values['snow'][1] = 101
    with pytest.raises(UserError, match='got 101 for snow 1'):
        function(values)


def test_performance_under_corruption_by_hand():
    values = np.full((15, 5), 0.2)
    values[0] = [0.5, 0.5, 0.5, 0.5, 0.5]
    got = performance_under_corruption(0.4, table(values))
    assert got == dict(P=0.4, mPC=pytest.approx(0.22), rPC=pytest.approx(55))
    assert performance_under_corruption(0, table(values))['rPC'] is None


def test_performance_under_corruption_equals_mmdet(tmp_path, capsys):
    """mmdet's own script on the file that its robustness test would write."""
    mmdet = pytest.importorskip('mmdet')
    import importlib.util
    from pathlib import Path

    from mmengine.fileio import dump

    path = Path(mmdet.__file__).parent / '.mim/tools/analysis_tools/robustness_eval.py'
    if not path.is_file():
        pytest.skip('this mmdet comes without its tools')
    spec = importlib.util.spec_from_file_location('robustness_eval', path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    values, clean = np.random.default_rng(0).uniform(0, 0.5, (15, 5)), 0.45
    written = {
        name: {0: {'coco/bbox_mAP': clean}, **{s: {'coco/bbox_mAP': v} for s, v in row.items()}}
        for name, row in table(values).items()
    }
    dump(written, tmp_path / 'results.pkl')
    script.get_coco_style_results(str(tmp_path / 'results.pkl'), metric='mAP', prints='all')
    printed = capsys.readouterr().out
    got = performance_under_corruption(clean, table(values))
    assert f'mAP   =  {got["P"]:0.3f}' in printed and f'mAP   =  {got["mPC"]:0.3f}' in printed
    assert f'mAP   => {got["rPC"]:0.1f} %' in printed


def right(share, images, seed=0):
    """The same share in every seed."""
    correct = np.arange(images) < share * images
    return np.random.default_rng(seed).permutation(correct)


def test_interval_of_an_accuracy_equals_the_normal_approximation():
    """1.96 standard errors: 0.3578 points for 80 % of 48,000 images."""
    got = accuracy_interval(right(0.8, 48_000), resamples=20_000)
    half = 100 * 1.959964 * np.sqrt(0.8 * 0.2 / 48_000)
    assert got.estimate == pytest.approx(80)
    assert got.low == pytest.approx(80 - half, abs=0.01) and got.high == pytest.approx(80 + half, abs=0.01)
    wider = accuracy_interval(right(0.8, 48_000), level=0.99, resamples=20_000)
    assert wider.high - wider.low == pytest.approx(2 * half * 2.575829 / 1.959964, abs=0.03)


def test_interval_of_a_paired_difference_equals_the_normal_approximation():
    """Of 10,000 images, A alone is right on 900 and B alone on 600."""
    a, b = np.ones(10_000), np.ones(10_000)
    a[:600] = b[600:1500] = 0
    a[1500:3000] = b[1500:3000] = 0
    got = paired_difference(a, b, resamples=20_000)
    half = 100 * 1.959964 * np.std(a - b) / 100
    assert got.estimate == pytest.approx(3)
    assert got.low == pytest.approx(3 - half, abs=0.02) and got.high == pytest.approx(3 + half, abs=0.02)
    assert paired_difference(b, a).estimate == pytest.approx(-3)
    # Equal models differ by nothing, whereas unpaired intervals would overlap widely.
    assert paired_difference(a, a) == (0, 0, 0)


@pytest.mark.parametrize('kind', ['accuracy', 'shares', 'difference'])
def test_intervals_equal_scipy(kind):
    """SciPy draws images one by one."""
    stats = pytest.importorskip('scipy.stats')
    rng = np.random.default_rng(1)
    a, b = right(0.7, 400), right(0.6, 400, seed=3)
    if kind == 'accuracy':
        values, got = a, accuracy_interval(a, resamples=20_000)
    elif kind == 'shares':
        values = rng.integers(0, 76, 400) / 75
        got = accuracy_interval(values, resamples=20_000)
    else:
        values, got = a.astype(float) - b, paired_difference(a, b, resamples=20_000)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method='percentile', batch=1000, random_state=rng
    ).confidence_interval
    assert got.estimate == pytest.approx(100 * np.mean(values))
    assert got.low == pytest.approx(100 * expected.low, abs=0.15)
    assert got.high == pytest.approx(100 * expected.high, abs=0.15)


def test_intervals_are_seeded():
    correct = right(0.8, 50_000)
    first = accuracy_interval(correct)
    assert accuracy_interval(correct) == first != accuracy_interval(correct, seed=1)


def test_certain_results_have_no_width():
    assert accuracy_interval(np.ones(10)) == (100, 100, 100)
    assert accuracy_interval(np.zeros(10, bool)) == (0, 0, 0)


@pytest.mark.parametrize('wrong', [[], [[1, 0]], [0.5, 2], [float('nan')]])
def test_wrong_values(wrong):
    with pytest.raises(UserError, match='one value from 0 to 1 for each image'):
        accuracy_interval(wrong)


def test_wrong_choices():
    with pytest.raises(UserError, match='same images, but got 2 and 3'):
        paired_difference([1, 0], [1, 0, 1])
    with pytest.raises(UserError, match='level between 0 and 1, but got 10 and 95'):
        accuracy_interval([1, 0], resamples=10, level=95)


def test_the_interval_of_a_median_is_numpys_bootstrap():
    values = np.random.default_rng(0).gamma(2.0, size=101)
    got = median_interval(values, resamples=2000)
    draws = np.median(np.random.default_rng(1).choice(values, (2000, len(values))), axis=1)
    assert got.estimate == np.median(values)
    assert got[1:] == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=0.05)
    # An even number of values; infinite ones are larger than all others.
    assert median_interval([3, 1, np.inf, 2]).estimate == 2.5
    assert median_interval([1, np.inf, np.inf]).estimate == np.inf
    assert np.isnan(median_interval([])).all()
