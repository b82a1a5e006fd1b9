"""Picture panels: rows of small pictures, embedded losslessly."""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

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
        counts = [count for _, count in self.groups]
        if self.groups and (sum(counts) != len(self.columns) or min(counts) < 1):
            raise ValueError(
                f'Panel {self.title!r}: got groups of {counts} columns, expected counts of 1 or more that add up to '
                f'{len(self.columns)}, so that every column is in one group.'
            )

    def grouped(self, cells: Sequence) -> list[tuple[str, list]]:
        """Return (name, cells) of each group; without groups, all cells are in one without a name."""
        rest = iter(cells)
        return [(name, list(itertools.islice(rest, n))) for name, n in self.groups or [('', len(self.columns))]]

    def narrow(self) -> int:
        """Return the number of pictures in a line of a phone, equal for all groups, so that pictures keep one size."""
        counts = [len(columns) for _, columns in self.grouped(self.columns)]
        return max(math.ceil(count / math.ceil(count / NARROW)) for count in counts)


def data_uri(image: np.ndarray) -> str:
    """Return a picture as a PNG data URI.

    Args:
        image: uint8, (H, W, 3) in RGB order or (H, W).

    Raises:
        ValueError: The array is not such a picture.
    """
    is_picture = image.size and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    if image.dtype != np.uint8 or not is_picture:
        raise ValueError(
            f'got a picture of shape {image.shape} and type {image.dtype}, expected uint8 (H, W, 3) or (H, W). '
            'Convert with np.clip(x, 0, 255).round().astype(np.uint8), channels last.'
        )
    png = io.BytesIO()
    Image.fromarray(image).save(png, 'png', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(png.getvalue()).decode('ascii')


def latest_panel(folders: Sequence[Path]) -> tuple[int, np.ndarray] | None:
    """Find the latest picture that ``PanelHook`` has written.

    Args:
        folders: A folder for each start of a training, the oldest first.

    Returns:
        Its epoch and the picture, uint8 (H, W, 3) in RGB order; None without one.
    """
    for folder in reversed(folders):
        found = folder.glob('vis_data/vis_image/panels_[0-9]*.png')
        files = {int(re.sub(r'\D', '', file.stem)): file for file in found}
        for epoch in sorted(files, reverse=True):
            try:
                with Image.open(files[epoch]) as picture:
                    return epoch, np.asarray(picture.convert('RGB'))
            except (OSError, SyntaxError):  # It is being written.
                continue
    return None
