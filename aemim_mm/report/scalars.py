"""What a training logged."""

import json
from pathlib import Path


def read_scalars(work_dir: Path, having: str = 'loss') -> dict:
    """Return what a training logged, over all its runs if it was resumed.

    Args:
        work_dir: The work directory.
        having: Use only the records with this name.

    Returns:
        Name to (steps, values), in the order of the steps.
    """
    rows = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        found = [json.loads(line) for line in file.read_text().splitlines()]
        rows |= {row['step']: row for row in found if having in row}
    names = {name for row in rows.values() for name in row}
    return {
        name: tuple(zip(*[(step, row[name]) for step, row in sorted(rows.items()) if name in row])) for name in names
    }
