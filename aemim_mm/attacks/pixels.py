"""Pixel space: lengths stated in pixels, 0-255, and the normalisation between pixels and what a model sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from ..errors import UserError

PIXEL_RANGE = (0.0, 255.0)


@dataclass(frozen=True, eq=False)
class PixelSpace:
    """The normalisation that a model's images have gone through; by default, none.

    Args:
        mean, std: Mean and deviation in pixels: numbers, or tensors (C, 1, 1).
    """

    mean: torch.Tensor | float = 0.0
    std: torch.Tensor | float = 1.0

    @classmethod
    def of(cls, data_preprocessor: Any) -> 'PixelSpace':
        """Read the normalisation of a data preprocessor of mmpretrain or mmdet.

        Args:
            data_preprocessor: ``ClsDataPreprocessor``, ``SelfSupDataPreprocessor``, ``DetDataPreprocessor`` or one with
                the same ``mean`` and ``std``, in pixels.

        Raises:
            UserError: It does not state its normalisation.
        """
        if not hasattr(data_preprocessor, '_enable_normalize'):
            raise UserError(
                'An attack works on pixels, 0-255, and undoes the normalisation of the data preprocessor, but a '
                f'{type(data_preprocessor).__name__} states none. Use ClsDataPreprocessor or, for a '
                'detector, DetDataPreprocessor, with mean and std.'
            )
        if not data_preprocessor._enable_normalize:
            return cls()
        return cls(data_preprocessor.mean, data_preprocessor.std)

    def check(self, pixel_range: Any = PIXEL_RANGE) -> None:
        """Raise a UserError if images cannot be normalised, or if ``pixel_range`` is no range of pixels."""
        mean, std = torch.as_tensor(self.mean), torch.as_tensor(self.std)
        if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise UserError(
                f'mean and std of the data preprocessor are in pixels, and std is > 0, but got mean='
                f'{mean.flatten().tolist()} and std={std.flatten().tolist()}.'
            )
        ends = list(pixel_range) if isinstance(pixel_range, Sequence) else []
        if len(ends) != 2 or not all(map(is_number, ends)) or not 0 <= ends[0] < ends[1] <= 255:
            raise UserError(f'pixel_range is (low, high) with 0 <= low < high <= 255, but got {pixel_range!r}.')

    def normalize(self, pixels: Any) -> Any:
        """Map pixels, 0-255, a tensor or a number, to what the model sees."""
        return (pixels - self.mean) / self.std

    def denormalize(self, images: torch.Tensor) -> torch.Tensor:
        """Map what the model sees to pixels, 0-255; the inverse of :meth:`normalize`."""
        return images * self.std + self.mean

    def add(self, images: torch.Tensor, delta: torch.Tensor, pixel_range: Any = PIXEL_RANGE) -> torch.Tensor:
        """Add a perturbation in pixels to normalised images; they stay in ``pixel_range``.

        Where the perturbation is 0, the images stay exactly as they are.
        """
        pixels = self.denormalize(images)
        # Rounding may have brought a pixel out of the range; the change is still 0 where the perturbation is.
        low, high = (bound - pixels for bound in pixel_range)
        return images + delta.clamp(low.clamp(max=0), high.clamp(min=0)) / self.std


def check_pixels(name: str, value: Any) -> float:
    """Return a length in pixels as a float.

    Raises:
        UserError: ``value`` is not a number from 0 to 255, or it is an eps that is evidently a fraction of 255.
    """
    if not is_number(value) or not 0 <= value <= 255:
        raise UserError(f'{name} is in pixels, 0-255, but got {value!r}.')
    if name == 'eps' and 0 < value < 0.5:
        raise UserError(f'eps is in pixels, 0-255, but got {value}. For a fraction such as 8/255, pass 8.')
    return float(value)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a real number; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_perturbs(data_preprocessor: object) -> None:
    """Raise a UserError if a data preprocessor cannot perturb images."""
    if not hasattr(data_preprocessor, 'perturb'):
        raise UserError(
            f'The data preprocessor is a {type(data_preprocessor).__name__}, which cannot perturb images. '
            "Set data_preprocessor=dict(type='AdvDataPreprocessor', ...)."
        )
