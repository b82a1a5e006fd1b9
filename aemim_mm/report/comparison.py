"""A report on trainings, side by side."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import first_of
from ..version import __version__
from .axes import short
from .charts import MAX_POINTS, Chart, Curve
from .config_differences import ABSENT, differences
from .page import Table, write_report
from .panels import Panel, latest_panel
from .runs import Point, Run

NONE = '–'
KINDS = ('loss', 'attack', 'rate', 'validation', 'instruments', 'other')
CAPTIONS = {
    'loss': 'Sum of all losses. mmengine logs losses as means over the last iterations.',
    'loss_clean': 'Reconstruction of the clean images.',
    'loss_adv': 'Reconstruction of the adversarial images, times its weight. It should not be far below loss_clean.',
    'attack_start': 'What the attack maximises, per image, at its start.',
    'attack_end': 'What the attack maximises, per image, at the adversarial images. It should not fall for good.',
    'attack_gain': 'attack_end over attack_start. At 1, the attack finds nothing.',
    'attack_zero_grad': "Share of zeros in the attack's last gradient. Hidden patches give zeros: for MAE, it is the "
    'mask ratio. A larger share is numerical underflow.',
    'lr': "Learning rate. If layers have rates of their own, it is the optimizer's.",
}
# Fields that differ between any two runs, and say nothing about what was compared.
SAME_ANYWAY = ('work_dir', 'resume', 'experiment_name')
LONGEST = 160
MOST_WARNINGS = 20


def write_comparison(runs: Sequence[Run], path: str | os.PathLike, command: str) -> Path:
    """Write a self-contained HTML page on trainings.

    It has a table of the trainings, their last and best figures, the differences of their configs, a chart of each
    logged quantity, the warnings of their logs, and their latest picture panels.

    Args:
        runs: At least one, with different labels.
        path: The file to write.
        command: The shell command that writes the page again.

    Returns:
        The path written.

    Raises:
        UserError: The file cannot be written.
    """
    states = [run.state for run in runs]
    sections = [_run_table(runs), _figure_table(runs), *_difference_table(runs), *_charts(runs), *_warning_table(runs)]
    return write_report(
        path,
        title=f'Training: {first_of(run.label for run in runs)}',
        summary=list(_notes(runs)),
        facts={
            'Written': f'{datetime.now():%Y-%m-%d %H:%M}, by aemim-mm {__version__}',
            'Runs': ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states)),
        },
        sections=[*sections, *_panels(runs)],
        next_steps=[('Write this page again, also while a training goes on:', command)],
    )


def _notes(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        if not run.rows:
            yield (
                f'{run.label} has logged no figure. Either it did not come so far, or its visualizer has no '
                'LocalVisBackend, which writes them to a file.'
            )
        if not run.config:
            yield f'{run.label} has no config that can be read, so its length and its differences are not known.'
    if any(len(points) > MAX_POINTS for run in runs for points in run.figures.values()):
        yield (
            f'Curves of more than {MAX_POINTS} points are thinned: of each stretch of neighbours, the lowest and the '
            'highest are drawn. Tables and legends have the exact values.'
        )


def _run_table(runs: Sequence[Run]) -> Table:
    # The first validation figure of each run, such as accuracy/top1 or coco/bbox_mAP.
    firsts = [[name for kind, name in run.figures if kind == 'validation'][:1] for run in runs]
    main = list(dict.fromkeys(name for first in firsts for name in first))
    rows = []
    for run in runs:
        row = {'run': run.label, 'config': run.name, 'state': run.state, 'reached': _reached(run)}
        row |= {'last line': run.log.time, 'loss': _last(run.figures.get(('loss', 'loss'), []))}
        for name in main:
            points = run.figures.get(('validation', name), [])
            row |= {f'{name}, last': _last(points), f'{name}, best': _best(name, points)}
        rows.append(row | _costs(run) | _origin(run))
    header = [name for name in rows[0] if any(row[name] for row in rows)]
    return Table(
        'Runs',
        'Seconds are the median of what was logged. The memory is the greatest on a GPU.',
        header,
        [[row[name] or NONE for name in header] for row in rows],
        best={name: _rule(name) for name in header if name.endswith((', last', ', best')) and len(runs) > 1},
    )


def _costs(run: Run) -> dict[str, str]:
    rate = run.images / run.seconds if run.images and run.seconds else None
    return {
        's an iteration': short(run.seconds) if run.seconds else '',
        'images/s': short(rate) if rate else '',
        'memory, MB': f'{run.memory:,}' if run.memory else '',
    }


def _origin(run: Run) -> dict[str, str]:
    facts = run.log.facts
    versions = [f'{name} {facts[name]}' for name in ('aemim-mm', 'torch', 'mmengine') if name in facts]
    return {'seed': facts.get('seed', ''), 'versions': ', '.join(versions)}


def _reached(run: Run) -> str:
    if run.rows and not run.tells_unit:
        return f'{run.reached:,} iterations'
    reached = run.limit if run.state == 'finished' and run.limit else run.reached
    return f'{short(reached)}{f" of {run.limit:,}" if run.limit else ""} {run.unit}'


def _rule(name: str) -> str:
    return 'min' if 'loss' in name or 'error' in name else 'max'


def _last(points: Sequence[Point]) -> str:
    return short(points[-1].value) if points else ''


def _best(name: str, points: Sequence[Point]) -> str:
    finite = [point for point in points if math.isfinite(point.value)]
    if not finite:
        return ''
    best = (min if _rule(name) == 'min' else max)(finite, key=lambda point: point.value)
    when = f'iteration {best.iteration:,.0f}' if best.epoch is None else f'epoch {short(best.epoch)}'
    return f'{short(best.value)} ({when})'


def _names(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return (kind, name) of all logged quantities, by kind."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    return sorted(names, key=lambda name: KINDS.index(name[0]))


def _figure_table(runs: Sequence[Run]) -> Table:
    rows = []
    for kind, name in _names(runs):
        found = [run.figures.get((kind, name), []) for run in runs]
        if kind in ('loss', 'validation'):
            rows.append([f'{name}, last', *(_last(points) or NONE for points in found)])
        if kind == 'validation':
            rows.append([f'{name}, best', *(_best(name, points) or NONE for points in found)])
    return Table(
        'Losses and validation', 'Losses of different methods are not of one scale.', _heads('figure', runs), rows
    )


def _heads(first: str, runs: Sequence[Run]) -> list[str]:
    return [first, *(run.label for run in runs)]


def _difference_table(runs: Sequence[Run]) -> Iterator[Table]:
    known = [run for run in runs if run.config]
    configs = [{key: item for key, item in run.config.items() if key not in SAME_ANYWAY} for run in known]
    rows = [[name, *map(_text, values)] for name, values in differences(configs)] if len(known) > 1 else []
    if rows:
        caption = f'Fields of the config that are not equal in all runs; {NONE} stands for a field that a run lacks.'
        yield Table('What was compared', caption, _heads('field', known), rows)
    elif len(known) > 1:
        yield Table('What was compared', '', ['configs of the runs'], [['equal']])


def _text(value: Any) -> str:
    text = NONE if value is ABSENT else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'


def _charts(runs: Sequence[Run]) -> Iterator[Chart]:
    by_epoch = all(run.knows_epochs for run in runs if run.rows)
    for kind, name in _names(runs):
        curves = []
        for run in runs:
            points = run.figures.get((kind, name), [])
            x = [point.epoch if by_epoch and point.epoch is not None else point.iteration for point in points]
            # A run keeps its colour in all charts, so it has a curve in each.
            curves.append(Curve(run.label, x, [point.value for point in points]).thinned())
        values = [y for curve in curves for _, y in curve.points()]
        wide = kind in ('loss', 'attack') and bool(values) and 0 < 100 * min(values) < max(values)
        x_label = 'epoch' if by_epoch else 'iteration'
        yield Chart(name, CAPTIONS.get(name, ''), x_label, name.split('/')[-1], curves, log_y=wide)


def _warning_table(runs: Sequence[Run]) -> Iterator[Table]:
    rows = []
    for run in runs:
        latest = list(reversed(run.log.warnings.items()))
        rows += [[run.label, level, str(count), text] for (level, text), count in latest[:MOST_WARNINGS]]
        if len(latest) > MOST_WARNINGS:
            rows.append([run.label, '', '', f'{len(latest) - MOST_WARNINGS} earlier ones are in {run.parts[-1]}'])
    caption = 'Warnings and errors in the logs of the latest start of each run; the latest come first.'
    yield Table('Warnings', caption, ['run', 'level', 'times', 'message'], rows)


def _panels(runs: Sequence[Run]) -> Iterator[Panel]:
    for run in runs:
        found = latest_panel(run.parts)
        if found:
            epoch, picture = found
            yield Panel(f'Reconstructions: {run.label}', '', [f'after epoch {epoch}'], [[picture]])
