"""Work directories as trainings leave them, written by hand."""

import json


def write_start(work_dir, *rows, start='20260101_000000', log='', config=None, end=''):
    """Write what one start of a training logs; return the work directory.

    Args:
        work_dir: Made if it is missing.
        *rows: The lines of ``scalars.json``. Without any, there is no such file.
        start: Name of the folder of this start.
        log: Text of the log; without it, there is none.
        config: Text of the config that is dumped, as ``net.py`` and as ``config.py``.
        end: Text after the last row.
    """
    folder = work_dir / start
    (folder / 'vis_data').mkdir(parents=True)
    if rows:
        (folder / 'vis_data/scalars.json').write_text(''.join(f'{json.dumps(row)}\n' for row in rows) + end)
    if log:
        (folder / f'{start}.log').write_text(''.join(f'2026/01/01 00:00:00 - mmengine - {line}\n' for line in log))
    for path in (work_dir / 'net.py', folder / 'vis_data/config.py'):
        if config is not None:
            path.write_text(config)
    return work_dir


def row(iteration, epoch=None, **values):
    """Return a line of a training."""
    place = dict(iter=iteration, step=iteration) | (dict(epoch=epoch) if epoch else {})
    return {'lr': 0.1, 'data_time': 0.0, 'loss': 1 / iteration, 'time': 0.5} | place | values


def validation(step, **values):
    """Return a line of mmengine after a validation; ``__`` stands for a slash."""
    figures = {name.replace('__', '/'): value for name, value in values.items()}
    return {**figures, 'data_time': 0.1, 'time': 0.2, 'step': step}
