"""The data preprocessor owns pixel space: mean, deviation, budget and valid range, and the only place that perturbs."""

from numbers import Real

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.registry import MODELS

from .attacks import STARTS, pgd
from .errors import UserError, unknown_name


@MODELS.register_module()
class AdvDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor`` that can also make adversarial examples of what it normalised.

    Args:
        eps: Radius of the L-inf ball in pixels, 0-255. The paper uses 2.
        steps: Number of gradient steps, >= 0. The paper uses 2.
        step_size: Step in pixels, 0-255. Default: eps / steps.
        start: Where in the ball the attack starts: ``uniform``, ``gaussian`` or ``zero``.
        pixel_range: The valid range of a pixel, in pixels.
        **kwargs: ``mean``, ``std``, ``to_rgb`` and the like, of ``SelfSupDataPreprocessor``.

    Raises:
        UserError: A value out of its range, or an eps that is plainly a fraction.

    Source: AEMIM, arXiv 2407.11537 (eps 2, 2 steps); Madry et al., arXiv 1706.06083 (PGD).
    """

    def __init__(self, eps=2.0, steps=2, step_size=None, start='uniform', pixel_range=(0.0, 255.0), **kwargs):
        super().__init__(**kwargs)
        self.eps = _pixels('eps', eps)
        if 0 < eps < 0.5:
            raise UserError(f'eps is in pixels, 0-255, but got {eps}. For a fraction such as 8/255, pass 8.')
        if not isinstance(steps, int) or steps < 0:
            raise UserError(f'steps is a whole number >= 0, but got {steps!r}. The paper takes 2.')
        self.steps = steps
        self.step_size = self.eps / max(steps, 1) if step_size is None else _pixels('step_size', step_size)
        if start not in STARTS:
            raise unknown_name('start', start, STARTS)
        self.start = start
        self.pixel_range = pixel_range

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels, 0-255, to the units in which the model sees images."""
        return (pixels - self.mean) / self.std if self._enable_normalize else pixels

    def denormalize(self, images: torch.Tensor) -> torch.Tensor:
        """Images as the model sees them to pixels, 0-255; the inverse of :meth:`normalize`."""
        return images * self.std + self.mean if self._enable_normalize else images

    def perturb(self, inputs: torch.Tensor, objective, *, observe=None) -> torch.Tensor:
        """Adversarial examples of a normalised batch: maximise ``objective`` within the budget.

        Args:
            inputs: Normalised images, (B, C, H, W), as :meth:`forward` returns them.
            objective: Maps normalised images to a scalar, summed over the batch.
            observe: Called with (objective value, gradient) at each step.

        Returns:
            Normalised images, detached, at most ``eps`` pixels from ``inputs`` and inside the valid range. With
            ``eps=0``, or ``steps=0`` and ``start='zero'``, the inputs themselves.
        """
        if self.eps == 0 or (self.steps == 0 and self.start == 'zero'):
            return inputs.detach()
        std = self.std if self._enable_normalize else inputs.new_ones(1)
        lower, upper = (self.normalize(inputs.new_tensor(bound)) for bound in self.pixel_range)
        return pgd(
            objective,
            inputs,
            eps=self.eps / std,
            step_size=self.step_size / std,
            steps=self.steps,
            lower=lower,
            upper=upper,
            start=self.start,
            observe=observe,
        )


def _pixels(name: str, value) -> float:
    if not isinstance(value, Real) or not 0 <= value <= 255:
        raise UserError(f'{name} is in pixels, 0-255, but got {value!r}.')
    return float(value)
