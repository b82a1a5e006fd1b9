"""Rows of a study's tables, from records."""

import numpy as np
import pytest
from scipy import stats

from aemim_mm.report.table import markdown_table
from aemim_mm.study.tables import DIFFERENCE_COLUMNS, differences, mean_columns, means, whole_seeds

EXACT, FAST = (70.0, 72.0, 71.0), (69.0, 71.5, 70.0)


@pytest.fixture
def records(values_of):
    """Three pairs, and a run of the baseline without a partner."""
    methods = {'fast': FAST, 'exact': (*EXACT, 90.0)}
    return [
        dict(seed=seed, machine=dict(gpus=[]), values=values_of(method, accuracy))
        for method, accuracies in methods.items()
        for seed, accuracy in enumerate(accuracies)
    ]


def test_means_are_over_all_runs(records):
    rows = means(records)
    assert list(rows) == ['exact', 'fast'], 'in the order of the study'
    assert rows['exact']['runs'] == 4 and rows['exact']['knn'] == np.mean((*EXACT, 90))
    assert rows['fast']['corrupted'] == np.mean(FAST) and rows['fast']['training_seconds'] == 9
    assert markdown_table(rows, mean_columns(records)).splitlines()[3].startswith('| fast   | 3    | 70.17 ')
    records[0]['values'].update(resumed=True, cpu_seconds={'pre-training': 1.0})
    assert means(records)['fast']['training_seconds'] == 9, 'an interrupted run has not measured all its time'
    assert 'pre-training, CPU s' in mean_columns(records)
    records[1]['machine']['gpus'].append('H100')
    assert means(records)['fast']['training_seconds'] == 10 and 'pre-training, s' in mean_columns(records)


def test_differences_are_over_pairs_of_the_same_seed(records):
    rows = differences(records)
    row, expected = rows['fast, linear probe (primary)'], stats.ttest_rel(FAST, EXACT)
    assert row['pairs'] == 3 and row['mean'] == pytest.approx(np.mean(np.subtract(FAST, EXACT)))
    assert row['p_value'] == pytest.approx(expected.pvalue)
    # Six equal p-values: Holm multiplies each by six.
    assert row['p_holm'] == pytest.approx(6 * expected.pvalue) and len(rows) == 6
    assert row['verdict'] == 'worse' and row['high'] < 0
    assert '| fast, 20-NN                  | -0.83 ' in markdown_table(rows, DIFFERENCE_COLUMNS)


def test_a_study_that_has_grown_keeps_its_older_records(records, values_of):
    newer = dict(
        values_of('slow', 60.0), study=dict(methods=['exact', 'slow', 'fast'], baseline='exact', primary='knn')
    )
    assert list(means([*records, dict(seed=0, machine=dict(gpus=[]), values=newer)])) == ['exact', 'slow', 'fast']


def test_a_measure_that_only_some_methods_have(records, values_of):
    some = dict(values_of('slow', 60.0), study=dict(methods=['exact', 'slow', 'fast'], baseline='exact', primary=None))
    some['measures'] = {'knn': 60.0}
    records += [dict(seed=0, machine=dict(gpus=[]), values=some)]
    table = markdown_table(means(records), mean_columns(records)).splitlines()
    assert [cell.strip() for cell in table[3].split('|')[1:5]] == ['slow', '1', '', '60.00']
    assert [row['pairs'] for row in differences(records, measures=['linear', 'knn']).values()] == [1, 3, 3]
    assert len(whole_seeds(records)) == 3 and {record['seed'] for record in whole_seeds(records)} == {0}


def test_one_pair_has_no_interval(records):
    rows = differences([record for record in records if record['seed'] == 1])
    (line, *_) = markdown_table(rows, DIFFERENCE_COLUMNS).splitlines()[2:]
    assert [cell.strip() for cell in line.strip('|').split('|')] == [
        'fast, linear probe (primary)', '-0.50', '', '1', '', '', '',
    ]  # fmt: skip
    baseline = [record for record in records if record['values']['method'] == 'exact']
    assert differences(baseline) == {} and list(means(baseline)) == ['exact']


def test_verdicts(values_of):
    def verdict(*accuracies):
        records = [dict(seed=seed, values=values_of('exact', 50.0)) for seed in range(3)]
        records += [dict(seed=seed, values=values_of('fast', accuracy)) for seed, accuracy in enumerate(accuracies)]
        return differences(records)['fast, 20-NN']['verdict']

    assert (verdict(51, 51, 51.1), verdict(49, 49, 48.9), verdict(49, 51, 50)) == ('better', 'worse', 'not seen')


def test_measures_of_which_less_is_better(values_of):
    records = [
        dict(
            seed=seed,
            machine=dict(gpus=[]),
            values=values_of(method, accuracy + 0.1 * seed, measures=('pgd_8', 'moved_8', 'PGD-AT/pgd_8')),
        )
        for method, accuracy in dict(exact=50.0, fast=40.0).items()
        for seed in range(3)
    ]
    # Differences that are not all equal.
    records[-1]['values']['measures'] = dict.fromkeys(records[-1]['values']['measures'], 41.0)
    rows = differences(records)
    assert list(rows) == ['fast, PGD, eps 8', 'fast, features moved, eps 8', 'fast, PGD-AT: PGD, eps 8']
    assert list(mean_columns(records))[2:-1] == ['PGD, eps 8', 'features moved, eps 8', 'PGD-AT: PGD, eps 8']
    assert rows['fast, features moved, eps 8']['verdict'] == 'better' and rows['fast, PGD, eps 8']['verdict'] == 'worse'
    # A method of which a run lacks a measure has no mean of it.
    del records[0]['values']['measures']['moved_8']
    assert differences(records)['fast, features moved, eps 8']['pairs'] == 2
    assert means(records)['exact']['moved_8'] is None and means(records)['fast']['moved_8']


@pytest.mark.parametrize('measure', ['knn', 'moved_8'])
def test_no_loss_needs_a_margin_and_a_bound_inside_it(values_of, measure):
    def verdict(margin, *gains):
        sign = -1 if measure == 'moved_8' else 1
        records = [
            dict(seed=seed, values=values_of(method, 50 + sign * gain, measures=(measure,)))
            for method, all_gains in dict(exact=[0] * len(gains), fast=gains).items()
            for seed, gain in enumerate(all_gains)
        ]
        for record in records:
            record['values']['study'].update(primary=measure, margin=margin)
        (row,) = differences(records).values()
        return row['verdict']

    scattered = (-0.4, 0.5, -0.3, 0.4)
    assert verdict(1.0, *scattered) == 'no loss'
    assert verdict(None, *scattered) == verdict(0.3, *scattered) == 'not seen'
    assert verdict(1.0, *(4 * gain for gain in scattered)) == 'not seen'
    assert verdict(1.0, -0.4, -0.5, -0.45, -0.41) == 'worse', 'seen, even if it is less than the margin'
