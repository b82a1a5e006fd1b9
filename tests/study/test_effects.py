"""What attacks and noise do to a pre-training model: rows from records, against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats

from aemim_mm.report.table import markdown_table
from aemim_mm.study.effects import COLUMNS, chart, effects

CHECKPOINTS, EPS, SEEDS = ('epoch-1', 'pretrained'), (2, 16), range(4)


@pytest.fixture
def records(values_of):
    """Four seeds whose figures are random, so that no two are equal."""
    generator, found = np.random.default_rng(0), []
    for seed in SEEDS:
        figures = {'linear': 3.0}
        for checkpoint in CHECKPOINTS:
            for kind in ('features', 'reconstruction'):
                for eps in EPS:
                    for figure in ('before', 'noise', 'attack', 'crossed'):
                        # The feature attack raises the loss by about a half, noise hardly.
                        base = 1.5 if (kind, figure) == ('reconstruction', 'crossed') else 1.0
                        figures[f'{checkpoint}/crossed-{kind}/{eps}/{figure}'] = base + generator.uniform(0, 0.1)
        found.append(dict(seed=seed, values=dict(values_of('exact', 50.0), figures=figures)))
    return [*found, dict(seed=0, values=dict(values_of('fast', 1.0), figures={}))]


def test_effects_are_means_and_paired_differences_over_seeds(records):
    rows = effects(records, 'exact')
    assert list(rows) == ['epoch 1, 2', 'epoch 1, 16', 'pretrained, 2 (primary)', 'pretrained, 16']
    figures = [record['values']['figures'] for record in records[:4]]

    def of(kind, figure):
        return np.array([one[f'epoch-1/crossed-{kind}/16/{figure}'] for one in figures])

    row, before = rows['epoch 1, 16'], of('reconstruction', 'before')
    assert row['moved_noise'] == pytest.approx(of('features', 'noise').mean())
    assert row['moved_features'] == pytest.approx(of('features', 'attack').mean())
    assert row['moved_reconstruction'] == pytest.approx(of('features', 'crossed').mean())
    rises = {name: 100 * (of('reconstruction', name) / before - 1) for name in ('noise', 'crossed', 'attack')}
    assert [row[f'loss_{name}'] for name in ('noise', 'features', 'reconstruction')] == pytest.approx(
        [value.mean() for value in rises.values()]
    )
    expected = stats.ttest_rel(rises['crossed'], rises['noise'])
    assert row['mean'] == pytest.approx((rises['crossed'] - rises['noise']).mean())
    assert row['p_value'] == pytest.approx(expected.pvalue) and row['p_value'] <= row['p_holm'] < 0.05
    assert row['verdict'] == 'more'
    assert len(markdown_table(rows, COLUMNS).splitlines()) == 6


def test_a_feature_attack_that_raises_the_loss_less_and_one_that_is_like_noise(records):
    for record in records[:4]:
        figures = record['values']['figures']
        for eps, factor in zip(EPS, (1.0, 0.7)):
            noise = figures[f'epoch-1/crossed-reconstruction/{eps}/noise']
            wobble = 0.01 * (-1) ** record['seed']
            figures[f'epoch-1/crossed-reconstruction/{eps}/crossed'] = factor * noise + wobble
    rows = effects(records, 'exact')
    assert [rows[f'epoch 1, {eps}']['verdict'] for eps in EPS] == ['not seen', 'less']


def test_one_seed_has_no_verdict(records):
    rows = effects(records[:1], 'exact')
    assert {row['verdict'] for row in rows.values()} == {row['p_holm'] for row in rows.values()} == {None}
    cells = [cell.strip() for cell in markdown_table(rows, COLUMNS).splitlines()[2].strip('|').split('|')]
    assert all(cells[:8]) and cells[8:] == ['', '', '', ''], 'the means and the difference, without an interval'


def test_a_chart_shows_the_table_s_means_of_the_pre_trained_models(records):
    rows = effects(records, 'exact')
    drawn = chart(records, 'exact', 'loss')
    assert [curve.label for curve in drawn.curves] == ['noise', 'feature attack', 'reconstruction attack']
    for curve, name in zip(drawn.curves, ('noise', 'features', 'reconstruction')):
        of_rows = [rows[row][f'loss_{name}'] for row in ('pretrained, 2 (primary)', 'pretrained, 16')]
        assert (list(curve.x), list(curve.y)) == ([2, 16], of_rows)
    assert '4 seeds' in drawn.caption
