"""Line charts: what they hold, and where each mark stands. ``templates/chart.svg`` draws them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from .axes import Axis, round_ticks, short, widen

WIDTH, HEIGHT = 600, 360
TOP, RIGHT, BOTTOM = 38, 26, 60
# A point that shows its value on hover is invisible. More of them would overlap on a laptop screen.
MAX_HOVER = 60
MAX_DOTS = 30
# More points than this would not show on a line as wide as the drawing.
MAX_POINTS = 600


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Args:
        label: Name in the legend.
        x, y: Values of the points, equally many, in drawing order. A value that is not finite leaves a gap.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self):
        if len(self.x) != len(self.y):
            raise ValueError(
                f'Curve {self.label!r} got {len(self.x)} x values and {len(self.y)} y values, expected equally many. '
                'Use NaN for a missing y.'
            )

    def thinned(self, limit: int = MAX_POINTS) -> Curve:
        """Return the curve with at most ``limit`` points, so that a chart of a long training stays small.

        The points are split into stretches of equal number. The first and the last point, the lowest and the highest
        finite point of each stretch, and one gap of each stretch that has any, remain.

        Args:
            limit: Number of points, >= 8.
        """
        if len(self.x) <= limit:
            return self
        y = np.asarray(self.y, dtype=float)
        kept = {0, len(y) - 1}
        for stretch in np.array_split(np.arange(1, len(y) - 1), (limit - 2) // 3):
            finite = np.isfinite(y[stretch])
            by_value = stretch[finite][np.argsort(y[stretch[finite]])]
            kept.update(*(part.tolist() for part in (by_value[:1], by_value[-1:], stretch[~finite][:1])))
        return Curve(self.label, [self.x[i] for i in sorted(kept)], [self.y[i] for i in sorted(kept)])

    def runs(self) -> list[list[tuple[float, float]]]:
        """Return the stretches of consecutive finite points."""
        runs: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(self.x, self.y, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                runs[-1].append((float(x), float(y)))
            else:
                runs.append([])
        return [run for run in runs if run]

    def points(self) -> list[tuple[float, float]]:
        """Return the finite points."""
        return [point for run in self.runs() for point in run]

    def hover_points(self) -> list[tuple[float, float]]:
        """Return at most ``MAX_HOVER`` of the finite points, the last one among them."""
        points = self.points()
        return points[:: -math.ceil(len(points) / MAX_HOVER)]

    def dots(self) -> list[tuple[float, float]]:
        """Return the points to mark: all of a short curve, otherwise those without a neighbour."""
        all_of_them = len(self.points()) <= MAX_DOTS
        return [point for run in self.runs() if all_of_them or len(run) == 1 for point in run]

    def change(self) -> str:
        """Return the first and the last value as text."""
        values = [short(y) for _, y in self.points()]
        return ' → '.join([values[0], *values[1:][-1:]]) if values else 'no values'


@dataclass(frozen=True)
class Chart:
    """A section with a line chart.

    Args:
        title: Heading of the section.
        caption: What the reader should see in it.
        x_label, y_label: Names of the axes, with the unit.
        curves: The lines. Without any finite point, a sentence replaces the chart.
        log_y: Whether the y axis is logarithmic; then every finite y must be > 0.
    """

    title: str
    caption: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_y: bool = False

    def __post_init__(self):
        for curve in self.curves if self.log_y else ():
            bad = [y for _, y in curve.points() if y <= 0]
            if bad:
                raise ValueError(
                    f'Chart {self.title!r}, curve {curve.label!r}: got y = {bad[0]:g}, expected y > 0 on a logarithmic '
                    'axis. Pass log_y=False, or NaN to leave the point out.'
                )

    def drawn(self) -> list[tuple[int, Curve]]:
        """Return number and curve of all curves with at least one finite point."""
        return [(number, curve) for number, curve in enumerate(self.curves) if curve.points()]

    def room(self) -> float:
        """Return the width, in drawing units, of the labels to the right of the drawing."""
        return 8 + 6.6 * max(len(clip(curve.label)) for _, curve in self.drawn())

    def axes(self) -> tuple[Axis, Axis]:
        """Return the x axis, which ends at the data, and the y axis, which ends on ticks."""
        xs, ys = zip(*(point for _, curve in self.drawn() for point in curve.points()), strict=True)
        whole = all(x == int(x) for x in xs)
        low, high = widen(min(xs), max(xs), whole=whole)
        x_ticks = [tick for tick in round_ticks(low, high, whole=whole) if low <= tick <= high]
        y_ticks = round_ticks(*widen(min(ys), max(ys)), log=self.log_y)
        y_axis = Axis(y_ticks, y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, log=self.log_y)
        # As wide as the longest label in the larger type of a phone.
        left = 14 + 10.5 * max(len(label) for label in y_axis.labels())
        return Axis(x_ticks, low, high, left, WIDTH - RIGHT), y_axis

    def end_labels(self, *, spacing: float = 15) -> Iterator[tuple[float, int, str]]:
        """Return (y, number, text) of each curve's name beside its last point, moved apart where two would overlap.

        Args:
            spacing: Smallest distance between two labels, in drawing units.
        """
        _, y_axis = self.axes()
        wanted = sorted((y_axis(curve.points()[-1][1]), number, curve.label) for number, curve in self.drawn())
        # Least squares under a least spacing is isotonic regression, for which this is the minimax formula.
        free = [y - i * spacing for i, (y, _, _) in enumerate(wanted)]
        for i, (_, number, label) in enumerate(wanted):
            means = [[fmean(free[j : k + 1]) for k in range(i, len(free))] for j in range(i + 1)]
            yield max(map(min, means)) + i * spacing, number, clip(label)


def clip(label: str, length: int = 24) -> str:
    """Return the label, shortened to what fits beside a chart."""
    return label if len(label) <= length else label[: length - 1] + '…'
