"""The results of a benchmark as a table and as JSON."""

from dataclasses import asdict
from statistics import median

from .laps import PARTS
from .machine import Machine
from .rounds import Result

HEADINGS = ('', 'step, s', 'images/s', 'time', 'memory, MB', 'memory', 'GFLOP/image', 'FLOPs', 'of peak', 'gain')


def table(results: list[Result], machine: Machine) -> str:
    """Two Markdown tables: each contender against the first, and the parts of its step."""
    base, peak = results[0], median(machine.rates['float32'])
    rows = [HEADINGS] + [_row(result, base, peak) for result in results]
    parts = [('seconds', *PARTS)]
    parts += [
        (result.name, *(f'{median(values):.2f}' if any(values) else '' for values in result.parts.values()))
        for result in results
    ]
    rates = ', '.join(f'{name} {median(values) / 1e9:.0f}' for name, values in machine.rates.items())
    return '\n'.join(
        [
            f'{machine.name}; batch {base.batch_size}; matrix products, GFLOP/s: {rates}',
            '',
            *_markdown(rows),
            '',
            *_markdown(parts),
        ]
    )


def _row(result: Result, base: Result, peak: float) -> tuple:
    ratios = result.ratios(base)
    spread = (max(result.seconds) - min(result.seconds)) / 2 / result.step
    return (
        result.name,
        f'{result.step:.2f} ±{spread:.0%}',
        f'{result.batch_size / result.step:.2f}',
        f'{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})',
        f'{result.memory / 1e6:.0f}',
        f'{result.memory / base.memory:.2f}',
        f'{result.flops / result.batch_size / 1e9:.1f}',
        f'{result.flops / base.flops:.2f}',
        f'{result.flops / result.step / peak:.0%}',
        '' if result.gain is None else f'{result.gain:.2f}',
    )


def _markdown(rows) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in rows]
    return [lines[0], '| ' + ' | '.join('-' * width for width in widths) + ' |', *lines[1:]]


def to_json(results: list[Result], machine: Machine, settings: dict) -> dict:
    """All that was measured, for ``json.dump``."""
    return dict(
        machine=machine.name,
        matmul_flops_per_second=machine.rates,
        settings=settings,
        results=[
            {**asdict(result), 'time_ratios': result.ratios(results[0]), 'median_seconds': result.step}
            for result in results
        ],
    )
