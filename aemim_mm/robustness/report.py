"""The figures of a measurement as a table, JSON, CSV, charts and one HTML page."""

import csv
import io
import json
import math
from pathlib import Path

from ..evaluation.metrics import Interval, corruption_errors, paired_difference
from ..report import Chart, Curve, Table, render_svg, write_report
from .conditions import Condition, Measurement, Robustness

# Digits after the decimal point, by the first word of ``Condition.measure``.
DIGITS = {'accuracy': 1, 'distance': 2, 'reconstruction': 4, 'AP': 3, 'L2': 2}
# The note beside a chart, by its x axis.
NOTES = {
    'severity': 'Mean over the corruptions.',
    'eps': 'Radius of the perturbation; 0 is no attack.',
}


def write_results(out: Path, record: Robustness) -> str:
    """Write ``results.json``, ``results.csv``, an SVG for each chart, and ``report.html``.

    Returns:
        The figures as text.
    """
    conditions, measurements, checks, missing = record.conditions, record.measurements, record.checks, record.missing
    rows = _rows(conditions, measurements)
    summary = {label: _summary(conditions, found) for label, found in measurements.items()}
    notes = {name: condition.note for name, condition in conditions.items() if condition.note}
    lines = [*_lines(summary), *dict.fromkeys(notes.values())]
    content = dict(
        results={label: {name: _entry(found[name]) for name in found} for label, found in measurements.items()},
        summary=summary,
        differences=_differences(measurements),
        checks={label: [vars(check) for check in found] for label, found in checks.items()},
        missing=missing,
        notes=notes,
    )
    (out / 'results.json').write_text(json.dumps(content, indent=2))
    header = ['part', *measurements]
    with (out / 'results.csv').open('w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    charts = _charts(conditions, measurements)
    for chart in charts:
        name = chart.title.lower().replace(' ', '-').replace(',', '')
        (out / f'{name}.svg').write_text(render_svg(chart), encoding='utf-8')
    _page(out, header, rows, lines, checks, missing, charts)
    return _text(header, rows, lines, checks, out) + _mmdets_own(out, conditions, measurements)


def _entry(measured: Measurement) -> dict:
    def known(value):
        return value if math.isfinite(value) else None

    figures = {
        name: {end: known(value) for end, value in interval._asdict().items()}
        for name, interval in measured.figures().items()
    }
    if measured.correct is None:
        return dict(figures=figures, count=measured.count)
    return dict(accuracy=measured.accuracy, low=figures['']['low'], high=figures['']['high'], count=measured.count)


def _rows(conditions: dict[str, Condition], measurements: dict) -> list:
    rows = []
    for name, condition in conditions.items():
        found = [(of_label[name].figures() if name in of_label else {}) for of_label in measurements.values()]
        every = dict.fromkeys(figure for figures in found for figure in figures)
        for figure in [figure for figure in every if not condition.shown or figure in condition.shown]:
            rows.append([f'{name} {figure}'.strip(), *(_cell(condition, figures.get(figure)) for figures in found)])
    return rows


def _cell(condition: Condition, interval: Interval | None) -> str:
    if interval is None:
        return ''
    digits = DIGITS[condition.measure.split()[0].rstrip(',')]
    text = f'{interval.estimate:.{digits}f}'
    half = (interval.high - interval.low) / 2
    return f'{text} ± {half:.{digits}f}' if math.isfinite(half) else text


def _summary(conditions: dict[str, Condition], found: dict) -> dict:
    """Average over the corruptions: accuracy and, if all are there, mCE; for a detector, P, mPC and rPC."""
    corrupted = {name: measured for name, measured in found.items() if conditions[name].group == 'corruptions'}
    if not corrupted:
        return {}
    if _are_aps(conditions, corrupted):
        from ..det.robustness import summarize

        return summarize(_estimates(found, corrupted)) if len(corrupted) == 75 else {}
    accuracies = {}
    for name, measured in corrupted.items():
        accuracies.setdefault(name.split('/')[-2], {})[int(conditions[name].strength)] = measured.accuracy
    every = [value for by_severity in accuracies.values() for value in by_severity.values()]
    summary = dict(mean_corrupted_accuracy=sum(every) / len(every))
    if len(every) == 75:
        errors = corruption_errors(accuracies)
        summary.update(mce=errors['mce'], mean_corruption_error=errors['mean_error'])
    return summary


def _mmdets_own(out: Path, conditions: dict[str, Condition], measurements: dict) -> str:
    text = ''
    for label, found in measurements.items():
        corrupted = [name for name in found if conditions[name].group == 'corruptions']
        if len(corrupted) == 75 and _are_aps(conditions, corrupted):
            from ..det.robustness import mmdets_own_summary

            own = mmdets_own_summary(_estimates(found, corrupted), out / f'coco-c_{label}.pkl')
            text += f'\n\n{label}, by mmdet:\n{own}' if own else ''
    return text


def _are_aps(conditions: dict[str, Condition], names) -> bool:
    return all(conditions[name].measure == 'AP' for name in names)


def _estimates(found: dict, corrupted) -> dict:
    """Return the APs on clean images and under the corruptions."""
    return {
        name: {figure: interval.estimate for figure, interval in found[name].figures().items()}
        for name in ('clean', *corrupted)
    }


def _differences(measurements: dict) -> dict:
    """Subtract the accuracy of the first classifier from that of each other one, with a paired 95% interval."""
    (_, first), *others = measurements.items()
    differences = {}
    for label, found in others:
        shared = [name for name in found if name in first and found[name].correct is not None]
        differences[label] = {
            name: paired_difference(found[name].correct, first[name].correct)._asdict() for name in shared
        }
    return differences


def _charts(conditions: dict[str, Condition], measurements: dict) -> list:
    charts = []
    for group in dict.fromkeys(condition.group for condition in conditions.values()):
        of_group = {name: one for name, one in conditions.items() if one.group == group and one.strength}
        curves = [
            Curve(f'{label} {figure}'.strip(), *zip(*points))
            for label, found in measurements.items()
            for figure, points in _curves(of_group, found).items()
            if len(points) > 1
        ]
        if curves:
            axis = 'severity' if group == 'corruptions' else 'eps'
            measure = next(iter(of_group.values())).measure
            charts.append(Chart(group[0].upper() + group[1:], NOTES[axis], axis, measure, curves))
    return charts


def _curves(conditions: dict[str, Condition], found: dict) -> dict:
    """Map the name of a figure to its points (strength, mean); strength 0 stands for the clean images."""
    curves = {}
    for name, condition in conditions.items():
        figures = found[name].figures() if name in found else {}
        for figure, interval in figures.items():
            if figure != 'before' and (not condition.shown or figure in condition.shown):
                # An encoder metric has its own value for the clean images, ``before``.
                start = figures.get('before') or (found['clean'].figures()[figure] if 'clean' in found else None)
                points = curves.setdefault(figure, {0.0: [start.estimate]} if start else {})
                points.setdefault(condition.strength, []).append(interval.estimate)
    return {
        figure: [(strength, sum(values) / len(values)) for strength, values in sorted(points.items())]
        for figure, points in curves.items()
    }


def _page(out, header, rows, lines, checks, missing, charts) -> None:
    sections = [
        Table(
            'Results',
            'Top-1 in percent, distances in percent of the length of the features, losses, AP from 0 to 1, or, for CW, '
            'L2 distances of images from 0 to 1 and accuracy in percent at a distance. After ±: half the width of a '
            '95% bootstrap interval over images, for losses over batches. AP has none.',
            header,
            rows,
        ),
        *charts,
    ]
    for label, found in checks.items():
        sections.append(
            Table(
                f'Can it be trusted: {label}',
                'Sanity checks of the attacks. A failed check means that the robust accuracy or AP may be too high.',
                ['check', 'passed', 'what was measured'],
                [[check.name, 'yes' if check.passed else 'NO', check.explanation] for check in found],
            )
        )
    lines = [*lines, *(f'Not measured: {name}. {reason}' for name, reason in missing.items())]
    write_report(out / 'report.html', title='Robustness', summary=lines, facts={}, sections=sections, next_steps=[])


def _text(header, rows, lines, checks, out) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    text = io.StringIO()
    for row in [header, *rows]:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=text)
    for line in lines:
        print(line, file=text)
    for label, found in checks.items():
        for check in found:
            print(f'{label}: {"ok    " if check.passed else "FAILED"} {check.name}', file=text)
            if not check.passed:
                print(f'    {check.explanation}', file=text)
    print(f'Written to {out}: results.json, results.csv, report.html and pictures.', file=text, end='')
    return text.getvalue()


def _lines(summary: dict) -> list:
    """Write the summary as lines, without the APs of single overlaps and sizes. P and mPC are from 0 to 1."""
    return [
        f'{label}: {name} {value:.3f}' if name.endswith((' P', ' mPC')) else f'{label}: {name} {value:.1f}'
        for label, found in summary.items()
        for name, value in found.items()
        if '_mAP_' not in name
    ]
