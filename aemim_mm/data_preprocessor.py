"""The data preprocessor owns pixel space: the normalisation, the budget and the valid range of the attack."""

from collections.abc import Callable

import torch
from mmpretrain.registry import MODELS

from .attacks import PGD, PIXEL_RANGE, PixelSpace
from .datasets.moving import BatchDataPreprocessor


@MODELS.register_module()
class AdvDataPreprocessor(BatchDataPreprocessor):
    """A ``BatchDataPreprocessor``, which can also perturb the images that it has normalised.

    Args:
        eps: Radius of the L-inf ball in pixels, 0-255. The paper uses 2.
        steps: Number of gradient steps, >= 0. The paper uses 2.
        step_size: Step in pixels, 0-255. Default: eps / steps.
        start: Where in the ball the attack starts: ``uniform``, ``gaussian`` or ``zero``.
        pixel_range: The valid range of a pixel, in pixels.
        **kwargs: Arguments of ``BatchDataPreprocessor``: ``sample_fields``, ``mean``, ``std``, ``to_rgb``, ...

    Raises:
        UserError: A value out of its range, or an eps that is evidently a fraction of 255.

    Source: AEMIM, arXiv 2407.11537 (eps 2, 2 steps); Madry et al., arXiv 1706.06083 (PGD).
    """

    def __init__(
        self, eps=2.0, steps=2, step_size: float | None = None, start='uniform', pixel_range=PIXEL_RANGE, **kwargs
    ):
        super().__init__(**kwargs)
        PGD(eps, steps=steps, step_size=step_size, start=start)  # Raises the UserError.
        PixelSpace.of(self).check(pixel_range)
        self.eps, self.steps, self.start, self.pixel_range = eps, steps, start, pixel_range
        self.step_size = eps / max(steps, 1) if step_size is None else step_size

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels, 0-255, to what the model sees."""
        return PixelSpace.of(self).normalize(pixels)

    def denormalize(self, images: torch.Tensor) -> torch.Tensor:
        """Map what the model sees to pixels, 0-255; the inverse of :meth:`normalize`."""
        return PixelSpace.of(self).denormalize(images)

    def perturb(self, inputs: torch.Tensor, objective: Callable, *, observe: Callable | None = None) -> torch.Tensor:
        """Make adversarial examples: maximise ``objective`` within the budget.

        Args:
            inputs: Normalised images, (B, C, H, W), as :meth:`forward` returns them.
            objective: Maps normalised images to a scalar, summed over the batch.
            observe: Called with (objective value, gradient) at each step.

        Returns:
            Normalised images, detached, at most ``eps`` pixels from ``inputs`` and inside the valid range.
        """
        attack = PGD(self.eps, steps=self.steps, step_size=self.step_size, start=self.start)
        return attack.maximize(objective, inputs, PixelSpace.of(self), pixel_range=self.pixel_range, observe=observe)
