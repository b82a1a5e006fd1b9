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
        eps: Radius of the ball of ``norm`` around an image, in pixels, 0-255, for ``linf``; in units of images from 0
            to 1 for ``l2``. The paper uses 2 pixels.
        steps: Number of gradient steps, >= 0. The paper uses 2. Without steps, the perturbation is noise.
        step_size: Step in the unit of ``eps``. Default: eps / steps.
        start: Where in the ball the attack starts: ``uniform``, ``gaussian`` or ``zero``. FGSM is one step from
            ``zero``.
        norm: ``linf`` or ``l2``.
        momentum: Share of the past steps' direction that is kept, >= 0. MI-FGSM uses 1.
        halving: Halve the step of an image when its objective does not rise, as Auto-PGD does. This costs one more
            forward pass of the encoder.
        pixel_range: The valid range of a pixel, in pixels.
        **kwargs: Arguments of ``BatchDataPreprocessor``: ``sample_fields``, ``mean``, ``std``, ``to_rgb``, ...

    Raises:
        UserError: A value out of its range, or an eps that is evidently a fraction of 255.

    Source: AEMIM, arXiv 2407.11537 (eps 2, 2 steps); Madry et al., arXiv 1706.06083 (PGD).
    """

    def __init__(
        self,
        eps: float = 2.0,
        steps: int = 2,
        step_size: float | None = None,
        start: str = 'uniform',
        norm: str = 'linf',
        momentum: float = 0.0,
        halving: bool = False,
        pixel_range: tuple[float, float] = PIXEL_RANGE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        PGD(eps, norm, steps, step_size, start, momentum, halving)  # Raises the UserError.
        PixelSpace.of(self).check(pixel_range)
        self.eps, self.steps, self.start, self.pixel_range = eps, steps, start, pixel_range
        self.norm, self.momentum, self.halving = norm, momentum, halving
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
            inputs: Normalised images, (B, C, H, W), as ``forward`` returns them.
            objective: Maps normalised images to a scalar, summed over the batch, or to a value for each image, (B,).
            observe: Called with (objective value, gradient) at each step.

        Returns:
            Normalised images, detached, at most ``eps`` from ``inputs`` and inside the valid range.
        """
        attack = PGD(self.eps, self.norm, self.steps, self.step_size, self.start, self.momentum, self.halving)
        return attack.maximize(objective, inputs, PixelSpace.of(self), pixel_range=self.pixel_range, observe=observe)
