"""A training, as its work directory shows it, also while it goes on."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mmengine.config import Config

from ..errors import UserError, first_of
from .labels import split_label
from .scalars import read_rows
from .text_log import TextLog, read_log

# Where nothing else tells whether a training goes on: it does if it wrote a log within so many seconds.
RECENT = 600
# What a row says about itself; and costs, which have a place of their own in a report.
NO_FIGURE = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')


class Point(NamedTuple):
    """A logged value, and where the training was; ``epoch`` is None for a training that counts iterations."""

    iteration: float
    epoch: float | None
    value: float


@dataclass(frozen=True)
class Run:
    """A training.

    Args:
        label: Name in reports.
        folder: The work directory.
        parts: Its sub-folders, one for each start of the training, the oldest first.
        name: Name of the config file, without its ending; empty if there is none.
        config: The config; empty if it cannot be read.
        rows: What was logged, as by :func:`read_rows`.
        log: What the text logs say. The warnings are those of the latest start.
        running: Whether the training goes on.
    """

    label: str
    folder: Path
    parts: Sequence[Path]
    name: str
    config: dict
    rows: Sequence[dict]
    log: TextLog
    running: bool

    @property
    def unit(self) -> str:
        """What the training counts, ``epochs`` or ``iterations``."""
        return 'iterations' if 'max_iters' in (self.config.get('train_cfg') or {}) else 'epochs'

    @property
    def limit(self) -> int | None:
        """The number of epochs, or of iterations, of the whole training; None if it is not known."""
        loop = self.config.get('train_cfg') or {}
        return loop.get('max_iters', loop.get('max_epochs'))

    @cached_property
    def knows_epochs(self) -> bool:
        """Whether the rows tell the epoch."""
        return self.unit == 'epochs' and any('epoch' in row for row in self.rows)

    @property
    def tells_unit(self) -> bool:
        """Whether the rows tell what the training counts; if not, they tell iterations."""
        return self.knows_epochs or self.unit == 'iterations'

    @cached_property
    def places(self) -> list[tuple[float, float | None]]:
        """The iteration and the epoch of each row; 2.5 is the middle of the third epoch."""
        return list(self._places())

    def _places(self) -> Iterator[tuple[float, float | None]]:
        # Without a log, the longest epoch that the rows show.
        shown = max((math.ceil(row['iter'] / row['epoch']) for row in self.rows if row.get('epoch')), default=1)
        length = int(self.log.facts.get('iterations an epoch', shown))
        iteration = epoch = 0
        for row in self.rows:
            if 'iter' in row:
                iteration, epoch = row['iter'], row.get('epoch', 0)
            if not self.knows_epochs:
                # mmengine gives the epoch as the step of a validation, whatever the training counts.
                yield max(row['step'], iteration), None
            elif 'iter' in row:
                # A part of the training that was resumed may have had epochs of another length.
                yield iteration, min(max(iteration / length, epoch - 1), epoch)
            # A validation, or a hook that logs once an epoch, gives the epoch as the step; other hooks the iteration.
            elif row['step'] <= epoch:
                yield row['step'] * length, row['step']
            else:
                yield row['step'], row['step'] / length

    @property
    def reached(self) -> float:
        """The epoch, or the iteration, of the last row."""
        places = [epoch if self.knows_epochs else iteration for iteration, epoch in self.places]
        return places[-1] if places and places[-1] is not None else 0

    @property
    def state(self) -> str:
        """``running``, ``finished`` or ``stopped``."""
        if self.running:
            return 'running'
        if not self.limit:
            return 'stopped'
        missing = self.limit - self.reached
        # mmengine logs every so many iterations, so the last row may be from before the end.
        saved = self.log.facts.get('saved') == f'{self.limit} {self.unit}'
        near = missing < 1 or not self.knows_epochs
        return 'finished' if (saved and near) or (missing <= 0 and self.tells_unit) else 'stopped'

    @cached_property
    def figures(self) -> dict[tuple[str, str], list[Point]]:
        """(kind, name) to the logged values.

        The kinds are ``loss``, ``attack``, ``rate`` (of learning), ``validation``, ``instruments`` and ``other``.
        """
        found: dict[tuple[str, str], list[Point]] = {}
        for row, place in zip(self.rows, self.places):
            for name, value in row.items():
                kind, name = _kind(name, row)
                if kind and isinstance(value, (int, float)):
                    found.setdefault((kind, name), []).append(Point(*place, value))
        return found

    @property
    def seconds(self) -> float | None:
        """The median time of an iteration in seconds."""
        times = [row.get('time', row.get('train/time')) for row in self.rows if 'iter' in row]
        times = [value for value in times if value is not None]
        return median(times) if times else None

    @property
    def images(self) -> int | None:
        """The number of images of an iteration, on all processes."""
        batch = (self.config.get('train_dataloader') or {}).get('batch_size')
        return batch and batch * int(self.log.facts.get('processes', 1))

    @property
    def memory(self) -> int | None:
        """The greatest memory on a GPU, in MB."""
        return max((row['memory'] for row in self.rows if 'memory' in row), default=None)


def _kind(name: str, row: dict) -> tuple[str, str]:
    """Return the kind of a figure, empty for what is none, and its name in reports."""
    name = re.sub(r'^(train|val)/', '', name)
    if name in NO_FIGURE or (name == 'lr' and 'base_lr' in row):
        return '', name
    if name.startswith('instruments/'):
        return 'instruments', name
    if 'iter' not in row:
        # A validation may log losses of the same names as the training.
        return 'validation', f'val/{name}' if 'loss' in name else name
    if name.endswith('lr'):
        # Layers may have rates of their own; then ``lr`` is the rate of some of them.
        return 'rate', 'lr' if name == 'base_lr' else name
    if name.startswith('attack'):
        return 'attack', name
    return 'loss' if 'loss' in name else 'other', name


def read_runs(texts: Sequence[str], in_use: Callable[[Path], bool | None]) -> list[Run]:
    """Read trainings.

    Args:
        texts: Their work directories, each ``[LABEL=]DIR``. The default label is the name of the folder.
        in_use: Tells whether a training holds a work directory; None if that is not known.

    Raises:
        UserError: A folder does not exist or has no logs, or two labels are equal.
    """
    runs: dict[str, Run] = {}
    for text in texts:
        label, path = split_label(text)
        folder = Path(path)
        label = label or folder.resolve().name
        if label in runs:
            raise UserError(f'Two runs are called {label}. Tell them apart with LABEL=DIR.')
        try:
            runs[label] = _read_run(label, folder, in_use)
        except OSError as error:
            raise UserError(f'The logs in {folder} cannot be read: {error}.') from error
    return list(runs.values())


def _read_run(label: str, folder: Path, in_use: Callable[[Path], bool | None]) -> Run:
    if not folder.is_dir():
        raise UserError(f'There is no folder {folder}. Name the work directory of a training, or LABEL=DIR.')
    logs = {part: read_log(part) for part in sorted(folder.iterdir()) if part.is_dir()}
    scalars = {file.parents[1] for file in folder.glob('*/vis_data/scalars.json')}
    # tools/test.py writes to the same folder.
    parts = [part for part, log in logs.items() if part in scalars or (log.time and 'test' not in log.facts)]
    if not parts:
        inner = sorted({file.parents[1] for file in folder.glob('*/*/vis_data')})
        hint = f' Name one of the work directories in it: {first_of(inner)}.' if inner else ''
        raise UserError(f'{folder} has no logs of a training, such as TIME/vis_data/scalars.json.{hint}')
    facts = {name: text for part in parts for name, text in logs[part].facts.items()}
    log = TextLog(facts, logs[parts[-1]].time, logs[parts[-1]].warnings)
    held = in_use(folder)
    names = sorted(folder.glob('*.py'), key=lambda file: file.stat().st_mtime)
    return Run(
        label,
        folder,
        parts,
        names[-1].stem if names else '',
        _read_config([*names, *(part / 'vis_data/config.py' for part in parts)]),
        read_rows(folder),
        log,
        _is_recent(parts[-1]) if held is None else held,
    )


def _read_config(files: Sequence[Path]) -> dict[str, Any]:
    """Return the last config that can be read: a training that begins may not have written its own to the end."""
    for file in reversed(files):
        try:
            return Config.fromfile(file, import_custom_modules=False).to_dict()
        except Exception:  # A config file is a program, so it can raise anything.
            continue
    return {}


def _is_recent(part: Path) -> bool:
    files = [*part.glob('*.log'), *part.glob('vis_data/scalars.json')]
    return time.time() - max(file.stat().st_mtime for file in files) < RECENT
