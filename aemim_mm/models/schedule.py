"""A weight that changes over training."""

from numbers import Real

import numpy as np
from mmengine.logging import MessageHub

from ..errors import UserError


class Schedule:
    """A number, or points ``[(progress, value), ...]`` with straight lines between; progress is from 0 to 1.

    Args:
        name: For the error.
        value: The number or the points, >= 0.

    Raises:
        UserError: A negative value, or progress that does not rise.
    """

    def __init__(self, name: str, value):
        points = [(0.0, value)] if isinstance(value, Real) else value
        try:
            self.points = [(float(progress), float(height)) for progress, height in points]
        except (TypeError, ValueError):
            self.points = []
        progress = [point[0] for point in self.points]
        if not self.points or progress != sorted(progress) or not all(height >= 0 for _, height in self.points):
            raise UserError(
                f'{name} is a number >= 0, or points [(progress, value), ...] with rising progress, but got {value!r}.'
            )

    def now(self) -> float:
        """The value at this moment of the runner's training; the first one where nothing trains."""
        hub = MessageHub.get_current_instance()
        progress = hub.get_info('iter', 0) / max(hub.get_info('max_iters', 1), 1)
        return float(np.interp(progress, *zip(*self.points)))
