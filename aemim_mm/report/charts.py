"""Line charts as inline SVG: no script, no dependency, sharp at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .axes import Axis, log_ticks, nice_ticks, short, widen

WIDTH, HEIGHT = 600, 360
TOP, RIGHT, BOTTOM = 38, 26, 60
# Six colours (in the style sheet) and five dash patterns have no common factor: 30 curves stay distinct.
COLOURS = 6
DASHES = ('', '8 4', '2 3', '10 3 2 3', '14 5')
# Invisible points that show their value on hover. More would overlap at the width of a laptop screen.
MAX_HOVER = 60
MAX_DOTS = 30


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


@dataclass(frozen=True)
class Chart:
    """A section with a line chart.

    Args:
        title: Heading of the section.
        caption: What the reader should see in it.
        x_label, y_label: Names of the axes, with the unit.
        curves: The lines. Without any finite point, a sentence stands in for the chart.
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


def render_chart(chart: Chart) -> str:
    """Return the chart as HTML: the drawing, then a legend with the first and the last value of each curve."""
    drawn = [(number, curve) for number, curve in enumerate(chart.curves) if curve.points()]
    if not drawn:
        return '<p class="empty">No values were recorded for this chart.</p>'
    x_axis, y_axis = make_axes([point for _, curve in drawn for point in curve.points()], log_y=chart.log_y)
    ends = end_labels(drawn, y_axis)
    # The labels stand outside the view box. The style sheet makes room for them, or hides them on a phone.
    room = 8 + 6.6 * max(len(clip(curve.label)) for _, curve in drawn)
    ranges = '; '.join(f'{c.label}: {short(c.points()[0][1])} to {short(c.points()[-1][1])}' for _, c in drawn)
    about = f'Line chart of {chart.y_label} against {chart.x_label}. {ranges}.'
    return '\n'.join(
        [
            f'<div class="plot" style="--plot:{100 * WIDTH / (WIDTH + room):.1f}%">',
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">',
            *draw_axes(chart, x_axis, y_axis),
            *(draw_curve(chart, number, curve, x_axis, y_axis) for number, curve in drawn),
            *ends,
            '</svg>',
            '</div>',
            '<ul class="legend">',
            *(legend_item(number, curve) for number, curve in enumerate(chart.curves)),
            '</ul>',
        ]
    )


def make_axes(points: Sequence[tuple[float, float]], *, log_y: bool = False) -> tuple[Axis, Axis]:
    """Return the x axis, which ends at the data, and the y axis, which ends on ticks.

    Args:
        points: At least one finite (x, y).
        log_y: Whether the y axis is logarithmic.
    """
    xs, ys = zip(*points, strict=True)
    whole = all(x == int(x) for x in xs)
    low, high = widen(min(xs), max(xs), whole=whole)
    x_ticks = [tick for tick in nice_ticks(low, high, whole=whole) if low <= tick <= high]
    y_low, y_high = widen(min(ys), max(ys))
    y_ticks = (log_ticks if log_y else nice_ticks)(y_low, y_high)
    y_axis = Axis(y_ticks, y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, log=log_y)
    # As wide as the longest label in the larger type of a phone.
    left = 14 + 10.5 * max(len(label) for label in y_axis.labels())
    return Axis(x_ticks, low, high, left, WIDTH - RIGHT), y_axis


def draw_axes(chart: Chart, x_axis: Axis, y_axis: Axis) -> list[str]:
    """Return gridlines, tick labels and the names of the axes, the y name above its axis so that it reads level."""
    left, right, bottom = x_axis.start, x_axis.end, y_axis.start
    parts = []
    for tick, label in zip(y_axis.ticks, y_axis.labels(), strict=True):
        y = y_axis(tick)
        parts.append(f'<line class="grid" x1="{left:.2f}" y1="{y:.2f}" x2="{right:.2f}" y2="{y:.2f}"/>')
        parts.append(f'<text class="y tick" x="{left - 8:.2f}" y="{y:.2f}" dy=".35em">{label}</text>')
    for tick, label in zip(x_axis.ticks, x_axis.labels(), strict=True):
        x = x_axis(tick)
        parts.append(f'<line class="axis" x1="{x:.2f}" y1="{bottom:.2f}" x2="{x:.2f}" y2="{bottom + 5:.2f}"/>')
        parts.append(f'<text class="x tick" x="{x:.2f}" y="{bottom + 24:.2f}">{label}</text>')
    y_name = f'{chart.y_label} (log scale)' if chart.log_y else chart.y_label
    parts += [
        f'<line class="axis" x1="{left:.2f}" y1="{bottom:.2f}" x2="{right:.2f}" y2="{bottom:.2f}"/>',
        f'<text class="name" x="0" y="18">{escape(y_name)}</text>',
        f'<text class="x name" x="{(left + right) / 2:.2f}" y="{HEIGHT - 8}">{escape(chart.x_label)}</text>',
    ]
    return parts


def draw_curve(chart: Chart, number: int, curve: Curve, x_axis: Axis, y_axis: Axis) -> str:
    """Return one curve: a polyline for each stretch without gaps, dots, and points that show their value on hover."""
    parts = [f'<g class="curve c{number % COLOURS}">']
    points = curve.points()
    for run in curve.runs():
        if len(run) > 1:
            path = ' '.join(f'{x_axis(x):.2f},{y_axis(y):.2f}' for x, y in run)
            parts.append(f'<polyline points="{path}"{dash(number)}/>')
        if len(run) == 1 or len(points) <= MAX_DOTS:
            parts += [f'<circle class="dot" cx="{x_axis(x):.2f}" cy="{y_axis(y):.2f}" r="3"/>' for x, y in run]
    stride = math.ceil(len(points) / MAX_HOVER)
    for x, y in points[::-stride]:
        # Counted from the end, so that the last value is always among them.
        title = escape(f'{curve.label}: {short(y)} at {chart.x_label} {short(x)}')
        parts.append(
            f'<circle class="hit" cx="{x_axis(x):.2f}" cy="{y_axis(y):.2f}" r="9"><title>{title}</title></circle>'
        )
    return '\n'.join([*parts, '</g>'])


def end_labels(drawn: Sequence[tuple[int, Curve]], y_axis: Axis, *, spacing: float = 15) -> list[str]:
    """Return the names of the curves, each beside the curve's last point, moved apart where they would overlap.

    Args:
        drawn: Number and curve, each with at least one finite point.
        y_axis: The y axis.
        spacing: Smallest distance between two labels, in drawing units.
    """
    wanted = sorted((y_axis(curve.points()[-1][1]), number, curve.label) for number, curve in drawn)
    # Least squares with a least spacing is isotonic regression: labels that overlap become a block around their mean.
    blocks: list[tuple[float, int]] = []
    for i, (y, _, _) in enumerate(wanted):
        mean, size = y - i * spacing, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    places = [mean + i * spacing for i, mean in enumerate(mean for mean, size in blocks for _ in range(size))]
    return [
        f'<text class="end c{number % COLOURS}" x="{WIDTH - RIGHT + 8}" y="{y:.2f}" dy=".35em" aria-hidden="true">'
        f'{escape(clip(label))}</text>'
        for y, (_, number, label) in zip(places, wanted, strict=True)
    ]


def legend_item(number: int, curve: Curve) -> str:
    """Return one line of the legend: a sample of the stroke, the name, and how the value went."""
    points = curve.points()
    change = f'{short(points[0][1])} → {short(points[-1][1])}' if len(points) > 1 else ''
    value = change or (short(points[0][1]) if points else 'no values')
    sample = (
        f'<svg class="curve c{number % COLOURS}" viewBox="0 0 36 10" aria-hidden="true">'
        f'<polyline points="1,5 35,5"{dash(number)}/></svg>'
    )
    return f'<li>{sample} <span>{escape(curve.label)}</span> <span class="value">{value}</span></li>'


def dash(number: int) -> str:
    """Return the dash attribute of the curve with this number, empty for a solid line."""
    pattern = DASHES[number % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ''


def clip(label: str, length: int = 24) -> str:
    """Return the label, shortened to what fits beside a chart."""
    return label if len(label) <= length else label[: length - 1] + '…'
