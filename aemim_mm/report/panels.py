"""Picture panels: rows of small pictures, embedded losslessly."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np

# Pictures up to this side are enlarged without smoothing, so that each pixel shows.
PIXELATED = 64
# On a phone more pictures than this in a line would be too small to judge.
NARROW = 4


@dataclass(frozen=True)
class Panel:
    """A section with one row of pictures for each example.

    Args:
        title: Heading of the section.
        caption: What the reader should see in it.
        columns: Name of each column.
        rows: One row for each example, one picture for each column: uint8, (H, W, 3) in RGB order or (H, W).
        groups: Optional (name, number of columns) pairs from left to right, such as
            ``(('clean', 3), ('adversarial', 4))``. They share a heading, and a phone shows each on a line of its own.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[np.ndarray]]
    groups: Sequence[tuple[str, int]] = ()

    def __post_init__(self):
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ValueError(
                    f'Panel {self.title!r}, row {number}: got {len(row)} pictures, expected {len(self.columns)}, '
                    'one for each column.'
                )
        covered = sum(count for _, count in self.groups)
        if self.groups and (covered != len(self.columns) or any(count < 1 for _, count in self.groups)):
            raise ValueError(
                f'Panel {self.title!r}: got groups of {[count for _, count in self.groups]} columns, expected counts '
                f'of 1 or more that add up to {len(self.columns)}, so that every column is in one group.'
            )


def data_uri(image: np.ndarray) -> str:
    """Return a picture as a PNG data URI.

    Args:
        image: uint8, (H, W, 3) in RGB order or (H, W).

    Raises:
        ValueError: The array is not such a picture.
    """
    image = np.asarray(image)
    is_picture = image.size and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    if image.dtype != np.uint8 or not is_picture:
        raise ValueError(
            f'got a picture of shape {image.shape} and type {image.dtype}, expected uint8 (H, W, 3) or (H, W). '
            'Convert with np.clip(x, 0, 255).round().astype(np.uint8), channels last.'
        )
    bgr = image[..., ::-1] if image.ndim == 3 else image
    _, png = cv2.imencode('.png', np.ascontiguousarray(bgr), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return 'data:image/png;base64,' + base64.b64encode(png.tobytes()).decode('ascii')


def render_panel(panel: Panel) -> str:
    """Return the panel as HTML: one heading row for wide screens, captions under the pictures for narrow ones."""
    if not panel.rows:
        return '<p class="empty">No pictures were recorded for this panel.</p>'
    groups = panel.groups or (('', len(panel.columns)),)
    # The same for all groups, so that their pictures keep one size and can be compared.
    narrow = max(math.ceil(count / math.ceil(count / NARROW)) for _, count in groups)
    heads = [
        ''.join(f'<span>{escape(column)}</span>' for column in columns) for columns in split(panel.columns, groups)
    ]
    parts = [
        f'<div class="panel" style="--narrow:{narrow}">',
        f'<div class="example heads" aria-hidden="true">\n{render_groups(groups, heads)}\n</div>',
    ]
    for number, row in enumerate(panel.rows, start=1):
        pictures = [
            '\n'.join(render_picture(number, name, column, image) for column, image in cells)
            for (name, _), cells in zip(groups, split(list(zip(panel.columns, row, strict=True)), groups), strict=True)
        ]
        example = render_groups(groups, pictures)
        parts.append(f'<div class="example" role="group" aria-label="Example {number}">\n{example}\n</div>')
    return '\n'.join([*parts, '</div>'])


def split(cells: Sequence, groups: Sequence[tuple[str, int]]) -> list[Sequence]:
    """Return the cells of each group, from left to right."""
    ends = list(itertools.accumulate(count for _, count in groups))
    return [cells[end - count : end] for end, (_, count) in zip(ends, groups, strict=True)]


def render_groups(groups: Sequence[tuple[str, int]], contents: Sequence[str]) -> str:
    """Return the groups of one row; the style sheet lays each out by its number of columns."""
    parts = []
    for (name, count), content in zip(groups, contents, strict=True):
        heading = f'<p class="group-name">{escape(name)}</p>' if name else ''
        parts.append(
            f'<div class="group" style="--count:{count}">{heading}<div class="pictures">\n{content}\n</div></div>'
        )
    return '\n'.join(parts)


def render_picture(number: int, group: str, column: str, image: np.ndarray) -> str:
    """Return one captioned picture.

    Args:
        number: Number of the example, from 1.
        group, column: Names of the group, which may be empty, and of the column.
        image: uint8, (H, W, 3) in RGB order or (H, W).
    """
    place = ', '.join(part for part in (f'Example {number}', group, column) if part)
    height, width = np.asarray(image).shape[:2]
    style = ' class="pixelated"' if max(height, width) <= PIXELATED else ''
    return (
        f'<figure><img{style} src="{data_uri(image)}" width="{width}" height="{height}" alt="{escape(place)}">'
        f'<figcaption>{escape(column)}</figcaption></figure>'
    )
