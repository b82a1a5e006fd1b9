"""The figures of tools/robustness.py as a table, JSON, CSV, pictures and one HTML page."""

import csv
import io
import json
import math
from pathlib import Path

from ..evaluation.metrics import corruption_errors, paired_difference
from ..report import Chart, Curve, Table, render_svg, write_report

# After the decimal point, by the first word of what is measured.
DIGITS = {'accuracy': 1, 'distance': 2, 'reconstruction': 4, 'AP': 3}
# Beside a chart, by its x axis.
NOTES = {
    'severity': 'Mean over the corruptions.',
    'eps': 'Radius of the perturbation; 0 is no attack.',
}


def write_results(out: Path, parts: dict, results: dict, checks: dict, missing: dict) -> str:
    """Write ``results.json``, ``results.csv``, an SVG for each chart, and ``report.html``.

    Args:
        out: Folder.
        parts: Name to ``Part``.
        results: Label of a model to {name of a part: ``Result``}.
        checks: Label to a list of ``Check``.
        missing: Name of a part to the reason why it could not run.

    Returns:
        The table as text.
    """
    rows = _rows(parts, results)
    summary = {label: _summary(parts, found) for label, found in results.items()}
    content = dict(
        results={label: {name: _entry(found[name]) for name in found} for label, found in results.items()},
        summary=summary,
        differences=_differences(results),
        checks={label: [vars(check) for check in found] for label, found in checks.items()},
        missing=missing,
    )
    (out / 'results.json').write_text(json.dumps(content, indent=2))
    header = ['part', *results]
    with (out / 'results.csv').open('w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    charts = _charts(parts, results)
    for chart in charts:
        name = chart.title.lower().replace(' ', '-').replace(',', '')
        (out / f'{name}.svg').write_text(render_svg(chart), encoding='utf-8')
    _page(out, header, rows, summary, checks, missing, charts)
    return _text(header, rows, summary, checks, out) + _mmdets_own(out, parts, results)


def _entry(result) -> dict:
    def known(value):
        return value if math.isfinite(value) else None

    figures = {
        name: dict(estimate=interval.estimate, low=known(interval.low), high=known(interval.high))
        for name, interval in result.figures().items()
    }
    if result.correct is None:
        return dict(figures=figures, count=result.count)
    return dict(accuracy=result.accuracy, low=figures['']['low'], high=figures['']['high'], count=result.count)


def _rows(parts: dict, results: dict) -> list:
    rows = []
    for name, part in parts.items():
        found = [(of_label[name].figures() if name in of_label else {}) for of_label in results.values()]
        every = dict.fromkeys(figure for figures in found for figure in figures)
        for figure in [figure for figure in every if not part.shown or figure in part.shown]:
            rows.append([f'{name} {figure}'.strip(), *(_cell(part, figures.get(figure)) for figures in found)])
    return rows


def _cell(part, interval) -> str:
    if interval is None:
        return ''
    digits = DIGITS[part.measure.split()[0].rstrip(',')]
    text = f'{interval.estimate:.{digits}f}'
    half = (interval.high - interval.low) / 2
    return f'{text} ± {half:.{digits}f}' if math.isfinite(half) else text


def _summary(parts: dict, found: dict) -> dict:
    """Of classifiers, mCE where all corruptions were run, and their mean accuracy; of detectors, P, mPC and rPC."""
    corrupted = {name: result for name, result in found.items() if parts[name].group == 'corruptions'}
    if not corrupted:
        return {}
    if _are_aps(parts, corrupted):
        from ..det.robustness import summarize

        return summarize(_estimates(found)) if len(corrupted) == 75 else {}
    accuracies = {}
    for name, result in corrupted.items():
        accuracies.setdefault(name.split('/')[-2], {})[int(parts[name].strength)] = result.accuracy
    every = [value for by_severity in accuracies.values() for value in by_severity.values()]
    summary = dict(mean_corrupted_accuracy=sum(every) / len(every))
    if len(every) == 75:
        errors = corruption_errors(accuracies)
        summary.update(mce=errors['mce'], mean_corruption_error=errors['mean_error'])
    return summary


def _mmdets_own(out: Path, parts: dict, results: dict) -> str:
    text = ''
    for label, found in results.items():
        corrupted = [name for name in found if parts[name].group == 'corruptions']
        if len(corrupted) == 75 and _are_aps(parts, corrupted):
            from ..det.robustness import mmdets_own_summary

            own = mmdets_own_summary(_estimates(found), out / f'coco-c_{label}.pkl')
            text += f'\n\n{label}, by mmdet:\n{own}' if own else ''
    return text


def _are_aps(parts: dict, names) -> bool:
    return all(parts[name].measure == 'AP' for name in names)


def _estimates(found: dict) -> dict:
    return {
        name: {figure: interval.estimate for figure, interval in result.figures().items()}
        for name, result in found.items()
    }


def _differences(results: dict) -> dict:
    """Each other classifier less the first, on the same images, with a 95% interval."""
    (_, first), *others = results.items()
    differences = {}
    for label, found in others:
        shared = [name for name in found if name in first and found[name].correct is not None]
        differences[label] = {
            name: paired_difference(found[name].correct, first[name].correct)._asdict() for name in shared
        }
    return differences


def _charts(parts: dict, results: dict) -> list:
    charts = []
    for group in dict.fromkeys(part.group for part in parts.values()):
        of_group = {name: part for name, part in parts.items() if part.group == group and part.strength}
        curves = [
            Curve(f'{label} {figure}'.strip(), *zip(*points))
            for label, found in results.items()
            for figure, points in _curves(of_group, found).items()
            if len(points) > 1
        ]
        if curves:
            axis = 'severity' if group == 'corruptions' else 'eps'
            measure = next(iter(of_group.values())).measure
            charts.append(Chart(group[0].upper() + group[1:], NOTES[axis], axis, measure, curves))
    return charts


def _curves(parts: dict, found: dict) -> dict:
    """Name of a figure to points: strength and mean, from the images as they are on."""
    curves = {}
    for name, part in parts.items():
        figures = found[name].figures() if name in found else {}
        for figure, interval in figures.items():
            if figure != 'before' and (not part.shown or figure in part.shown):
                # What is measured of an encoder brings its own value of the images as they are.
                start = figures.get('before') or (found['clean'].figures()[figure] if 'clean' in found else None)
                points = curves.setdefault(figure, {0.0: [start.estimate]} if start else {})
                points.setdefault(part.strength, []).append(interval.estimate)
    return {
        figure: [(strength, sum(values) / len(values)) for strength, values in sorted(points.items())]
        for figure, points in curves.items()
    }


def _page(out, header, rows, summary, checks, missing, charts) -> None:
    sections = [
        Table(
            'Results',
            'Top-1 in percent, distances in percent of the length of the features, losses, or AP from 0 to 1; with '
            'half the width of a 95% bootstrap interval over images (of losses, over batches; none of AP).',
            header,
            rows,
        ),
        *charts,
    ]
    for label, found in checks.items():
        sections.append(
            Table(
                f'Can it be trusted: {label}',
                'The checks that the field asks for. One that fails says that the robust accuracy may be too high.',
                ['check', 'passed', 'what was measured'],
                [[check.name, 'yes' if check.passed else 'NO', check.explanation] for check in found],
            )
        )
    lines = _lines(summary)
    lines += [f'Not measured: {name}. {reason}' for name, reason in missing.items()]
    write_report(out / 'report.html', title='Robustness', summary=lines, facts={}, sections=sections, next_steps=[])


def _text(header, rows, summary, checks, out) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    text = io.StringIO()
    for row in [header, *rows]:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=text)
    for line in _lines(summary):
        print(line, file=text)
    for label, found in checks.items():
        for check in found:
            print(f'{label}: {"ok    " if check.passed else "FAILED"} {check.name}', file=text)
            if not check.passed:
                print(f'    {check.explanation}', file=text)
    print(f'Written to {out}: results.json, results.csv, report.html and pictures.', file=text, end='')
    return text.getvalue()


def _lines(summary: dict) -> list:
    """All but the APs of one overlap or size, which ``results.json`` has. P and mPC are from 0 to 1."""
    return [
        f'{label}: {name} {value:.3f}' if name.endswith((' P', ' mPC')) else f'{label}: {name} {value:.1f}'
        for label, found in summary.items()
        for name, value in found.items()
        if '_mAP_' not in name
    ]
