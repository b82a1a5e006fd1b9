"""The second view of an image, which a tokenizer sees: what an attack on the first view makes of it."""

from functools import cache

import cv2
import numpy as np
import torch
from mmcv.image.geometric import cv2_interp_codes
from mmpretrain.registry import MODELS

from .attacks import PixelSpace
from .data_preprocessor import AdvDataPreprocessor
from .datasets.moving import BatchTwoNormDataPreprocessor
from .errors import unknown_name


@MODELS.register_module()
class AdvTwoNormDataPreprocessor(AdvDataPreprocessor, BatchTwoNormDataPreprocessor):
    """An ``AdvDataPreprocessor`` for two views of a crop, normalised with two means: BEiT, CAE, iTPN on CLIP.

    The attack perturbs the first view. The second view gets the same perturbation, brought to its size as the pipeline
    brings the crop: by OpenCV's interpolation, which is linear and hence a matrix for each axis.

    Args:
        second_interpolation: As of ``RandomResizedCropAndInterpolationWithTwoPic`` in the pipeline: ``nearest``,
            ``bilinear``, ``bicubic``, ``area`` or ``lanczos``.
        **kwargs: Arguments of ``AdvDataPreprocessor``, and ``second_mean`` and ``second_std``.

    Raises:
        UserError: An unknown interpolation.
    """

    second_mean: torch.Tensor
    second_std: torch.Tensor

    def __init__(self, second_interpolation: str = 'lanczos', **kwargs):
        super().__init__(**kwargs)
        if second_interpolation not in cv2_interp_codes:
            raise unknown_name('second_interpolation', second_interpolation, cv2_interp_codes)
        self.second_interpolation = second_interpolation

    def second_view(self, first: torch.Tensor, second: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Give the second view the perturbation of the first.

        Args:
            first, second: The two views, normalised, (B, C, H, W) and (B, C, h, w).
            images: The perturbed first view, (B, C, H, W).

        Returns:
            (B, C, h, w), inside ``pixel_range``, and exactly ``second`` without a perturbation.
        """
        delta = (images - first) * PixelSpace.of(self).std
        if delta.shape != second.shape:
            delta = resize(delta, second.shape[-2:], self.second_interpolation)
        space = PixelSpace(self.second_mean, self.second_std) if self._enable_normalize else PixelSpace()
        return space.add(second, delta, self.pixel_range)


def resize(images: torch.Tensor, size: tuple[int, int] | torch.Size, interpolation: str) -> torch.Tensor:
    """Resize images as OpenCV does, differentiably, and without rounding.

    Args:
        images: (B, C, H, W).
        size: Height and width.
        interpolation: A name of mmcv's.

    Returns:
        (B, C, h, w).
    """
    rows, columns = (
        torch.from_numpy(_resizing(before, after, interpolation)).to(images)
        for before, after in zip(images.shape[-2:], size)
    )
    return rows @ images @ columns.T


@cache
def _resizing(before: int, after: int, interpolation: str) -> np.ndarray:
    """The matrix (after, before) of a resize along one axis: the resized unit vectors."""
    return cv2.resize(np.eye(before, dtype=np.float32), (before, after), interpolation=cv2_interp_codes[interpolation])
