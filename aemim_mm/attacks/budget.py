"""The budget of an attack: a norm, and a radius in the unit in which the literature states it."""

from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UserError, unknown_name
from .balls import BALLS, L2Ball, LInfBall, ball_around
from .pixels import PIXEL_RANGE, check_pixels, is_number


@dataclass(frozen=True)
class Budget:
    """A ball around an image.

    Args:
        eps: Radius. ``linf``: in pixels, 0-255, such as 4 (not 4/255). ``l2``: in the unit of the literature, where
            pixels are from 0 to 1, such as 0.5.
        norm: ``linf`` or ``l2``.

    Raises:
        UserError: An unknown norm; a negative radius; an L-inf radius above 255 or evidently a fraction of 255.
    """

    eps: float
    norm: str = 'linf'

    def __post_init__(self):
        if self.norm not in BALLS:
            raise unknown_name('norm', self.norm, BALLS)
        self.check_length('eps', self.eps)

    def check_length(self, name: str, value: Any) -> None:
        """Raise a UserError unless ``value`` is a length in the unit of ``eps``."""
        if self.norm == 'linf':
            check_pixels(name, value)
        elif not is_number(value) or not 0 <= value < float('inf'):
            raise UserError(f'{name} in L2 is in units of images from 0 to 1, and >= 0, but got {value!r}.')

    @property
    def pixels(self) -> float:
        """The radius in units where pixels are from 0 to 255."""
        return self.to_pixels(self.eps)

    def to_pixels(self, length: float) -> float:
        """Convert a length in the unit of ``eps``, such as a step size, to units where pixels are from 0 to 255."""
        return length if self.norm == 'linf' else length * 255

    def ball(self, x: torch.Tensor) -> LInfBall | L2Ball:
        """The ball around images in pixels, 0-255, (B, C, H, W)."""
        return ball_around(x, norm=self.norm, eps=self.pixels, lower=PIXEL_RANGE[0], upper=PIXEL_RANGE[1])

    def quantize(self, x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Round perturbed images to 8 bits without leaving the budget.

        The result is the last whole number on the way from the rounded clean pixel to the perturbed pixel. Both ends of
        that way are inside an L-inf ball whose radius is at least half a pixel, even if the clean pixel is not a whole
        number. An L2 ball around such an image may hold no 8-bit image at all.

        Args:
            x_adv, x: Perturbed and clean images in pixels, 0-255, (B, C, H, W).

        Raises:
            UserError: The norm is L2, and a clean pixel is not a whole number.
        """
        whole = x.round()
        if self.eps == 0:
            return x
        if self.norm == 'l2' and not torch.equal(whole, x):
            raise UserError(
                'quantize=True with norm l2 needs images of whole pixel values, as mmpretrain loads and resizes them, '
                'but got others: an 8-bit image within the budget may not exist. Set quantize=False, or norm to linf.'
            )
        return whole + (x_adv - whole).trunc()


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise a UserError unless ``value`` is a whole number >= ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f'{name} is a whole number >= {least}, but got {value!r}.')
