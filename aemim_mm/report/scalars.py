"""What a training logged."""

import json
from collections.abc import Iterator
from pathlib import Path


def read_rows(work_dir: Path) -> list[dict]:
    """Return the rows of all ``scalars.json`` of a work directory, in the order of training.

    Where a training was resumed, or started again, its iterations replace the earlier ones from there on. Lines that
    are not whole are left out: a running training writes the last one, and a killed one leaves it.

    Args:
        work_dir: The work directory.

    Returns:
        Rows of training, which have ``iter`` and maybe ``epoch``; and others, such as those of a validation, which have
        only ``step``. That is an epoch or an iteration.
    """
    placed: list[tuple[int, dict]] = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        part = list(_whole_rows(file))
        done = next((row['iter'] for row in part if 'iter' in row), None)
        if done is not None:
            placed = [(place, row) for place, row in placed if place < done]
        for row in part:
            # A row that names no iteration was logged after the iteration of the row before it.
            done = row.get('iter', done)
            placed.append((done or 0, row))
    return [row for _, row in placed]


def _whole_rows(file: Path) -> Iterator[dict]:
    for line in file.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and 'step' in row:
            yield row


def read_scalars(work_dir: Path, having: str = 'loss') -> dict:
    """Return what a training logged, over all its runs if it was resumed.

    Args:
        work_dir: The work directory.
        having: Use only the rows with this name.

    Returns:
        Name to (steps, values), in the order of the steps.
    """
    rows = {row['step']: row for row in read_rows(work_dir) if having in row}
    names = {name for row in rows.values() for name in row}
    return {
        name: tuple(zip(*[(step, row[name]) for step, row in sorted(rows.items()) if name in row])) for name in names
    }
