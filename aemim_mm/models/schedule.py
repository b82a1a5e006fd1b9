"""A weight that changes over training."""

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import cast

import numpy as np
from mmengine.logging import MessageHub

from ..errors import UserError


def progress() -> float:
    """Return the finished share of the runner's training, from 0 to 1; outside training, 0."""
    hub = MessageHub.get_current_instance()
    return hub.get_info('iter', 0) / max(hub.get_info('max_iters', 1), 1)


def epochs() -> tuple[int, int]:
    """Return the number of finished epochs of the runner's training, and of all; outside training, 0 and 1."""
    hub = MessageHub.get_current_instance()
    return hub.get_info('epoch', 0), max(hub.get_info('max_epochs', 1), 1)


class Schedule:
    """A constant, or points ``[(progress, value), ...]`` with straight lines between them; progress is from 0 to 1.

    Args:
        name: The name of the value in the error.
        value: The constant or the points, >= 0.

    Raises:
        UserError: A value is negative or not finite, or the progress does not rise inside 0 to 1.
    """

    def __init__(self, name: str, value: float | Sequence[tuple[float, float]]):
        points = [(0.0, value)] if isinstance(value, Real) else cast(Sequence, value)
        try:
            self.points = [(float(time), float(height)) for time, height in points]
        except (TypeError, ValueError):
            self.points = []
        times = [point[0] for point in self.points]
        rises = times == sorted(times) and all(0 <= time <= 1 for time in times)
        if not self.points or not rises or not all(0 <= height < inf for _, height in self.points):
            raise UserError(
                f'{name} is a number >= 0, or points [(progress, value), ...] with progress rising from 0 to 1, but '
                f'got {value!r}.'
            )

    def now(self) -> float:
        """Return the value at this moment of the runner's training; outside training, the first value."""
        return self.at(progress())

    def at(self, time: float) -> float:
        """Return the value at a progress from 0 to 1."""
        times, values = zip(*self.points)
        return float(np.interp(time, times, values))
