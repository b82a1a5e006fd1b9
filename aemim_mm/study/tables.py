"""Rows of a study's tables, from the values of its records."""

from collections.abc import Sequence
from statistics import fmean

from .measures import MEASURES, measure_of
from .statistics import holm, paired_difference

DIFFERENCE_COLUMNS = {
    'method and measure': '{name}',
    'difference': '{mean:+.2f}',
    '95 % interval': '{low:+.2f} to {high:+.2f}',
    'pairs': '{pairs}',
    'visible': '{visible:.2f}',
    'p, Holm': '{p_holm:.3f}',
    'verdict': '{verdict}',
}


def mean_columns(records: Sequence[dict]) -> dict:
    """Return the columns of a table of :func:`means`, for ``markdown_table``.

    Args:
        records: Records of a study's runs.
    """
    headings = {measure_of(name).heading: f'{{{name}:.2f}}' for name in _measured(records)}
    unit = 's' if _on_gpu(records) else 'CPU s'
    return {'method': '{name}', 'runs': '{runs}', **headings, f'pre-training, {unit}': '{training_seconds:.0f}'}


def means(records: Sequence[dict]) -> dict:
    """Return the mean of each measure, by method; None where its runs do not have it.

    ``training_seconds`` are those by the clock if a run had a GPU, otherwise those of the processor.

    Args:
        records: Records of a study's runs.
    """
    rows, clock = {}, 'seconds' if _on_gpu(records) else 'cpu_seconds'
    for method, runs in by_method(records).items():
        values = [record['values'] for record in runs.values()]
        measures = {name: [value['measures'].get(name) for value in values] for name in _measured(records)}
        rows[method] = {name: None if None in found else fmean(found) for name, found in measures.items()}
        # A run that went on after an interruption has measured only the rest of its training.
        whole = [value for value in values if not value.get('resumed')] or values
        trainings = [
            sum(value[clock].get(stage, 0) for stage in ('pre-training', 'second training')) for value in whole
        ]
        rows[method]['training_seconds'] = fmean(trainings)
        rows[method]['runs'] = len(values)
    return rows


def _on_gpu(records: Sequence[dict]) -> bool:
    return any(record['machine']['gpus'] for record in records)


def differences(records: Sequence[dict], baseline: str | None = None, measures: Sequence[str] | None = None) -> dict:
    """Return the mean difference of each method to the baseline in each measure, over the seeds that both have.

    Args:
        records: Records of a study's runs.
        baseline: The method to compare with. Default: the study's baseline.
        measures: Keys of measures, as of ``measure_of``. Default: all.

    Returns:
        Method and measure to the fields of ``PairedDifference``, the p-value adjusted for all rows, and a verdict.
    """
    methods = by_method(records)
    study = records[0]['values']['study']
    compared, rows = methods.pop(baseline or study['baseline']), {}
    for method, runs in methods.items():
        for name in _measured(records) if measures is None else measures:
            figures, others = _figures(runs, name), _figures(compared, name)
            if not (seeds := sorted(set(figures) & set(others))):
                continue
            both = [[of[seed] for seed in seeds] for of in (figures, others)]
            primary = ' (primary)' if name == study['primary'] else ''
            measure = measure_of(name)
            margin = study.get('margin') if primary else None
            row = dict(paired_difference(*both)._asdict(), lower_is_better=measure.lower_is_better, margin=margin)
            rows[f'{method}, {measure.heading}{primary}'] = row
    judge(list(rows.values()))
    return rows


def judge(rows: Sequence[dict]) -> None:
    """Add to rows of a table ``p_holm``, adjusted for all of them, and ``verdict``; None for a single pair.

    Args:
        rows: As of :func:`verdict`.
    """
    tested = [row for row in rows if row['p_value'] is not None]
    for row, p_value in zip(tested, holm([row['p_value'] for row in tested])):
        row.update(p_holm=p_value, verdict=verdict(row))
    for row in rows:
        row.setdefault('p_holm', None)
        row.setdefault('verdict', None)


def verdict(row: dict) -> str:
    """Return the verdict on a paired difference: ``better``, ``worse``, ``no loss`` or ``not seen``.

    Args:
        row: The fields of ``PairedDifference``, ``lower_is_better`` and ``margin``.
    """
    better, worst = (row['mean'] < 0, -row['most']) if row['lower_is_better'] else (row['mean'] > 0, row['least'])
    if not row['low'] <= 0 <= row['high']:
        return 'better' if better else 'worse'
    return 'no loss' if row['margin'] and worst > -row['margin'] else 'not seen'


def _figures(runs: dict[int, dict], name: str) -> dict[int, float]:
    """Return seed to a measure, of the runs of a method that have it."""
    measures = {seed: record['values']['measures'] for seed, record in runs.items()}
    return {seed: found[name] for seed, found in measures.items() if name in found}


def _measured(records: Sequence[dict]) -> list[str]:
    """Return the keys of all measures of the records, network by network."""
    keys = list(dict.fromkeys(key for record in records for key in record['values']['measures']))
    networks = dict.fromkeys(key.rpartition('/')[0] for key in keys)
    order = [f'{network}/{name}' if network else name for network in networks for name in MEASURES]
    return [key for key in order if key in keys]


def whole_seeds(records: Sequence[dict]) -> list[dict]:
    """Return the records of the seeds that all methods have, so that a study that goes on compares pairs only.

    Args:
        records: Records of a study's runs.
    """
    seeds = set.intersection(*(set(runs) for runs in by_method(records).values()))
    return [record for record in records if record['seed'] in seeds]


def by_method(records: Sequence[dict]) -> dict[str, dict[int, dict]]:
    """Return method to seed to record, in the order in which the study declares the methods.

    A study may have grown since its first records.
    """
    declared = max((record['values']['study']['methods'] for record in records), key=len)
    methods = {name: {} for name in declared}
    for record in records:
        methods[record['values']['method']][record['seed']] = record
    return {name: runs for name, runs in methods.items() if runs}
