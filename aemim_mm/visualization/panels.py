"""Picture panels: what the model sees, what the attack adds, what the model reconstructs."""

import cv2
import numpy as np
import torch

from ..domain import Domain
from .reconstruction import reconstruct


def panel_columns(model) -> list[str]:
    """Headings of the seven pictures of a row, true for this model."""
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


FOOTNOTE = "* patches were predicted normalised: shown with the target patch's mean and deviation"


def panel_rows(model, inputs, data_samples=None) -> list[list[np.ndarray]]:
    """Seven pictures for each image: (H, W, 3) RGB or (H, W) grey, uint8; see :func:`panel_columns`."""
    pictures = reconstruct(model, inputs, data_samples)
    clean, adv = pictures[Domain.CLEAN], pictures[Domain.ADV]
    delta = 127.5 + (adv.image - clean.image[: len(adv.image)]) * _amplification(model)
    columns = [clean.image, clean.masked, clean.pred, adv.image, delta, adv.masked, adv.pred]
    return [[_to_uint8(model, picture) for picture in row] for row in zip(*columns)]


def _amplification(model) -> int:
    return max(int(127 / max(model.data_preprocessor.eps, 0.5)), 1)


def _to_uint8(model, picture: torch.Tensor) -> np.ndarray:
    array = picture.clamp(0, 255).round().byte().permute(1, 2, 0).cpu().numpy()
    if array.shape[-1] == 1:
        return array[..., 0]
    return array if model.data_preprocessor._channel_conversion else array[..., ::-1]


def draw_panels(rows, columns, footnote: str = '', size: int = 168) -> np.ndarray:
    """Rows of pictures as one picture with headings, (H, W, 3) RGB uint8; small pictures are enlarged to ``size``."""
    gap, heading, foot = 6, 24, 22 if footnote else 0
    height, width = rows[0][0].shape[:2]
    scale = max(size // width, 1)
    height, width = height * scale, width * scale
    canvas = np.full((heading + len(rows) * (height + gap) + foot, len(columns) * (width + gap), 3), 255, np.uint8)
    for column, title in enumerate(columns):
        left = column * (width + gap)
        _write(canvas, title, (left, heading - 8), width)
        for number, row in enumerate(rows):
            top = heading + number * (height + gap)
            picture = row[column] if row[column].ndim == 3 else np.repeat(row[column][..., None], 3, axis=2)
            canvas[top : top + height, left : left + width] = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    if footnote:
        _write(canvas, footnote, (0, len(canvas) - 8), canvas.shape[1])
    return canvas


def _write(canvas, text, origin, width) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (needed, _), _ = cv2.getTextSize(text, font, scale, 1)
    cv2.putText(canvas, text, origin, font, scale * min(1, width / needed), (0, 0, 0), 1, cv2.LINE_AA)
