"""The figures of tools/robustness.py as a table, JSON, CSV, pictures and one HTML page."""

import csv
import io
import json
from pathlib import Path

from matplotlib.figure import Figure

from ..report import Chart, Curve, Table, write_report
from .metrics import accuracy_interval, corruption_errors, paired_difference


def write_results(out: Path, parts: dict, results: dict, checks: dict, missing: dict) -> str:
    """Write ``results.json``, ``results.csv``, a PNG for each chart, and ``report.html``.

    Args:
        out: Folder.
        parts: Name to ``Part``.
        results: Label of a classifier to {name of a part: ``Result``}.
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
        _draw(chart, out / f'{chart.title.lower().replace(" ", "-").replace(",", "")}.png')
    _page(out, header, rows, summary, checks, missing, charts)
    return _text(header, rows, summary, checks, out)


def _entry(result) -> dict:
    interval = accuracy_interval(result.correct)
    return dict(accuracy=result.accuracy, low=interval.low, high=interval.high, count=len(result.correct))


def _rows(parts: dict, results: dict) -> list:
    names = [name for name in parts if any(name in found for found in results.values())]
    return [[name, *(_cell(found.get(name)) for found in results.values())] for name in names]


def _cell(result) -> str:
    if result is None:
        return ''
    entry = _entry(result)
    return f'{entry["accuracy"]:.1f} ± {(entry["high"] - entry["low"]) / 2:.1f}'


def _summary(parts: dict, found: dict) -> dict:
    """mCE where all corruptions were run, and the mean accuracy under those that were."""
    accuracies = {}
    for name, result in found.items():
        if parts[name].group == 'corruptions':
            accuracies.setdefault(name.split('/')[-2], {})[int(parts[name].strength)] = result.accuracy
    if not accuracies:
        return {}
    every = [value for by_severity in accuracies.values() for value in by_severity.values()]
    summary = dict(mean_corrupted_accuracy=sum(every) / len(every))
    if len(accuracies) == 15 and all(len(by_severity) == 5 for by_severity in accuracies.values()):
        errors = corruption_errors(accuracies)
        summary.update(mce=errors['mce'], mean_corruption_error=errors['mean_error'])
    return summary


def _differences(results: dict) -> dict:
    """Each other classifier less the first, on the same images, with a 95% interval."""
    (_, first), *others = results.items()
    differences = {}
    for label, found in others:
        shared = [name for name in found if name in first]
        differences[label] = {
            name: paired_difference(found[name].correct, first[name].correct)._asdict() for name in shared
        }
    return differences


def _charts(parts: dict, results: dict) -> list:
    charts = []
    for group in dict.fromkeys(part.group for part in parts.values()):
        curves = [
            Curve(label, *zip(*points))
            for label, found in results.items()
            if len(points := _points(parts, found, group)) > 1
        ]
        if curves:
            axis = 'severity' if group == 'corruptions' else 'eps'
            note = 'Mean over the corruptions.' if axis == 'severity' else 'Radius of the perturbation; 0 is no attack.'
            charts.append(Chart(group[0].upper() + group[1:], note, axis, 'accuracy, %', curves))
    return charts


def _points(parts: dict, found: dict, group: str) -> list:
    """Strength and mean accuracy, from the images as they are on."""
    by_strength = {0.0: [found['clean'].accuracy]} if 'clean' in found else {}
    for name, result in found.items():
        if parts[name].group == group and group not in ('clean', 'distribution shift'):
            by_strength.setdefault(parts[name].strength, []).append(result.accuracy)
    return [(strength, sum(values) / len(values)) for strength, values in sorted(by_strength.items())]


def _draw(chart, path: Path) -> None:
    figure = Figure(figsize=(5, 3.5), layout='constrained')
    axes = figure.add_subplot(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label, ylim=(0, 100))
    for curve in chart.curves:
        axes.plot(curve.x, curve.y, marker='o', label=curve.label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def _page(out, header, rows, summary, checks, missing, charts) -> None:
    sections = [
        Table(
            'Accuracy',
            'Top-1 in percent, with half the width of a 95% bootstrap interval over images.',
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
    lines = [f'{label}: {name} {value:.1f}' for label, found in summary.items() for name, value in found.items()]
    lines += [f'Not measured: {name}. {reason}' for name, reason in missing.items()]
    write_report(out / 'report.html', title='Robustness', summary=lines, facts={}, sections=sections, next_steps=[])


def _text(header, rows, summary, checks, out) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    text = io.StringIO()
    for row in [header, *rows]:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=text)
    for label, found in summary.items():
        for name, value in found.items():
            print(f'{label}: {name} {value:.1f}', file=text)
    for label, found in checks.items():
        for check in found:
            print(f'{label}: {"ok    " if check.passed else "FAILED"} {check.name}', file=text)
            if not check.passed:
                print(f'    {check.explanation}', file=text)
    print(f'Written to {out}: results.json, results.csv, report.html and pictures.', file=text, end='')
    return text.getvalue()
