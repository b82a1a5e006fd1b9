"""Picture panels: the image, the masked image, the perturbation and the reconstructions, one row for each image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..domain import Domain
from .reconstruction import reconstruct

FOOTNOTE = "* patches were predicted normalised: shown with the target patch's mean and deviation"
# In pixels. A power of two as dpi keeps sizes exact.
GAP, HEADING, FOOT, DPI = 6, 24, 22, 64


def panel_columns(model: Any) -> list[str]:
    """Return the headings of the seven pictures of a row."""
    # A prediction of normalised pixels has no brightness or contrast of its own.
    star = '*' if getattr(model.head, 'norm_pix', False) else ''
    return [
        'original',
        'masked',
        f'reconstruction{star}',
        'adversarial',
        f'perturbation x{_amplification(model)}',
        'masked',
        f'reconstruction{star}',
    ]


def panel_rows(model: Any, inputs: torch.Tensor, data_samples: list | None = None) -> list[list[np.ndarray]]:
    """Return seven pictures for each image, as :func:`panel_columns` names them.

    Args:
        model: An ``AdversarialMIM``.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One sample for each image, if the algorithm takes its masks from samples.

    Returns:
        B rows of pictures: uint8, (H, W, 3) in RGB order or (H, W).
    """
    pictures = reconstruct(model, inputs, data_samples)
    clean, adv = pictures[Domain.CLEAN], pictures[Domain.ADV]
    delta = 127.5 + (adv.image - clean.image[: len(adv.image)]) * _amplification(model)
    columns = [clean.image, clean.masked, clean.pred, adv.image, delta, adv.masked, adv.pred]
    return [[_to_uint8(model, picture) for picture in row] for row in zip(*columns)]


def draw_panels_of(model: Any, inputs: torch.Tensor, data_samples: list | None = None) -> np.ndarray:
    """Draw the rows of :func:`panel_rows` as one picture, with headings and, if it says something, the footnote.

    Args:
        model, inputs, data_samples: As of :func:`panel_rows`.

    Returns:
        uint8, (H', W', 3) in RGB order.
    """
    columns = panel_columns(model)
    footnote = FOOTNOTE if any('*' in column for column in columns) else ''
    return draw_panels(panel_rows(model, inputs, data_samples), columns, footnote)


def amplification(size: float) -> int:
    """Return the factor that shows a perturbation of this greatest size, in pixels 0-255, around a medium grey."""
    return max(int(127 / max(size, 0.5)), 1)


def _amplification(model) -> int:
    preprocessor = model.data_preprocessor
    # An L2 budget spreads over many pixels.
    return amplification(preprocessor.eps if preprocessor.norm == 'linf' else preprocessor.eps * 255 / 64)


def _to_uint8(model, picture: torch.Tensor) -> np.ndarray:
    array = picture.clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
    if array.shape[-1] == 1:
        return array[..., 0]
    return array if model.data_preprocessor._channel_conversion else array[..., ::-1]


def draw_panels(
    rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str], footnote: str = '', size: int = 168
) -> np.ndarray:
    """Draw rows of pictures, with headings, as one picture.

    Args:
        rows: Pictures of one size: uint8, (H, W, 3) in RGB order or (H, W).
        columns: Heading of each column.
        footnote: Text below the pictures.
        size: Width up to which pictures are enlarged, by a whole factor, in pixels.

    Returns:
        uint8, (H', W', 3) in RGB order.
    """
    scale = max(size // rows[0][0].shape[1], 1)
    height, width = (side * scale for side in rows[0][0].shape[:2])
    whole_height = HEADING + len(rows) * (height + GAP) + (FOOT if footnote else 0)
    figure = Figure((len(columns) * (width + GAP) / DPI, whole_height / DPI), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    for column, heading in enumerate(columns):
        left = column * (width + GAP)
        _write(figure, heading, left, whole_height - HEADING / 2, width)
        for number, row in enumerate(rows):
            picture = row[column].repeat(scale, axis=0).repeat(scale, axis=1)
            picture = np.broadcast_to(picture.reshape(height, width, -1), (height, width, 3))
            bottom = whole_height - HEADING - number * (height + GAP) - height
            figure.figimage(picture, left, bottom, origin='upper')
    _write(figure, footnote, 0, FOOT / 2, figure.bbox.width)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _write(figure: Figure, text: str, left: float, middle: float, width: float) -> None:
    drawn = figure.text(left / figure.bbox.width, middle / figure.bbox.height, text, fontsize=14, va='center')
    drawn.set_fontsize(14 * min(1, width / max(drawn.get_window_extent().width, 1)))
