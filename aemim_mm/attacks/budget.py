"""How far an attack may go, in the units people state it in."""

from dataclasses import dataclass
from numbers import Real

import torch

from ..errors import UserError, unknown_name
from .balls import BALLS, ball_around

PIXELS = (0.0, 255.0)


@dataclass(frozen=True)
class Budget:
    """A ball around an image.

    Args:
        eps: Its radius. ``linf``: in pixels, 0-255, such as 4 (not 4/255). ``l2``: in the units of the literature,
            where pixels are from 0 to 1, such as 0.5.
        norm: ``linf`` or ``l2``.

    Raises:
        UserError: An unknown norm; a radius that is negative or, of ``linf``, above 255 or plainly a fraction.
    """

    eps: float
    norm: str = 'linf'

    def __post_init__(self):
        if self.norm not in BALLS:
            raise unknown_name('norm', self.norm, BALLS)
        if self.norm == 'linf':
            check_pixels('eps', self.eps)
        elif not _is_number(self.eps) or not 0 <= self.eps < float('inf'):
            raise UserError(f'eps in L2 is in units of images from 0 to 1, and >= 0, but got {self.eps!r}.')

    @property
    def pixels(self) -> float:
        """The radius where pixels are from 0 to 255."""
        return self.to_pixels(self.eps)

    def to_pixels(self, length: float) -> float:
        """A length in the units of ``eps``, such as a step size, where pixels are from 0 to 255."""
        return length if self.norm == 'linf' else length * 255

    def ball(self, x):
        """The ball around images in pixels, 0-255."""
        return ball_around(x, norm=self.norm, eps=self.pixels, lower=PIXELS[0], upper=PIXELS[1])

    def quantize(self, x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Round perturbed images to 8 bits without leaving the budget: towards the clean image, not to the nearest.

        Each pixel goes from ``x_adv`` towards the clean pixel, rounded, up to the first whole number. Both ends of that
        way are inside the L-inf ball of an ``eps`` of at least half a pixel, also where the clean pixel is no whole
        number. An L2 ball may hold no 8-bit image at all then.

        Args:
            x_adv, x: Perturbed and clean images in pixels, 0-255, (B, C, H, W).

        Raises:
            UserError: L2, and a clean pixel is no whole number.
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


def check_pixels(name: str, value) -> float:
    """A length in pixels.

    Raises:
        UserError: It is no number from 0 to 255, or plainly a fraction.
    """
    if not _is_number(value) or not 0 <= value <= 255:
        raise UserError(f'{name} is in pixels, 0-255, but got {value!r}.')
    if name == 'eps' and 0 < value < 0.5:
        raise UserError(f'eps is in pixels, 0-255, but got {value}. For a fraction such as 8/255, pass 8.')
    return float(value)


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
