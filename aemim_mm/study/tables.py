"""Rows of a study's tables, from the values of its records."""

from collections.abc import Sequence
from statistics import fmean

from .declaration import MEASURES
from .statistics import holm, paired_difference

MEAN_COLUMNS = {
    'method': '{name}',
    'runs': '{runs}',
    **{heading: f'{{{name}:.2f}}' for name, heading in MEASURES.items()},
    'pre-training, CPU s': '{cpu_seconds:.0f}',
}
DIFFERENCE_COLUMNS = {
    'method and measure': '{name}',
    'difference': '{mean:+.2f}',
    '95 % interval': '{low:+.2f} to {high:+.2f}',
    'pairs': '{pairs}',
    'visible': '{visible:.2f}',
    'p, Holm': '{p_holm:.3f}',
    'verdict': '{verdict}',
}


def means(records: Sequence[dict]) -> dict:
    """Return the mean of each measure, by method.

    Args:
        records: Records of a study's runs.
    """
    rows = {}
    for method, runs in _by_method(records).items():
        values = [record['values'] for record in runs.values()]
        rows[method] = {name: fmean(value['measures'][name] for value in values) for name in MEASURES}
        rows[method]['cpu_seconds'] = fmean(value['cpu_seconds']['pre-training'] for value in values)
        rows[method]['runs'] = len(values)
    return rows


def differences(records: Sequence[dict]) -> dict:
    """Return the mean difference of each method to the baseline in each measure, over the seeds that both have.

    Args:
        records: Records of a study's runs.

    Returns:
        Method and measure to the fields of ``PairedDifference``, the p-value adjusted for all rows, and a verdict.
    """
    methods = _by_method(records)
    study = records[0]['values']['study']
    baseline, rows = methods.pop(study['baseline']), {}
    for method, runs in methods.items():
        seeds = sorted(set(runs) & set(baseline))
        for name, heading in MEASURES.items() if seeds else ():
            both = [[of[seed]['values']['measures'][name] for seed in seeds] for of in (runs, baseline)]
            primary = ' (primary)' if name == study['primary'] else ''
            rows[f'{method}, {heading}{primary}'] = paired_difference(*both)._asdict()
    tested = [row for row in rows.values() if row['p_value'] is not None]
    for row, p_value in zip(tested, holm([row['p_value'] for row in tested])):
        row.update(p_holm=p_value, verdict=_verdict(row))
    for row in rows.values():
        row.setdefault('p_holm', None)
        row.setdefault('verdict', None)
    return rows


def _verdict(row: dict) -> str:
    if row['low'] <= 0 <= row['high']:
        return 'not seen'
    return 'better' if row['mean'] > 0 else 'worse'


def _by_method(records: Sequence[dict]) -> dict[str, dict[int, dict]]:
    """Return method to seed to record, in the order in which the study declares the methods."""
    methods = {name: {} for name in records[0]['values']['study']['methods']}
    for record in records:
        methods[record['values']['method']][record['seed']] = record
    return {name: runs for name, runs in methods.items() if runs}
