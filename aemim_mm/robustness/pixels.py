"""A classifier as a function of pixels, 0-255, and a context that leaves it unchanged."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from ..attacks import PixelSpace
from ..errors import UserError
from ..models.modes import buffers_kept, evaluating
from ..replay import gpus_in_use

# Normalising and its inverse, in float32, are off by about 1e-5 pixels.
SNAP = 1e-3


@contextmanager
def left_as_it_was(model: nn.Module, *, seed: int | None = None, float32: bool = True) -> Iterator[nn.Module]:
    """Inside: eval mode, float32, gradients for inputs only. Afterwards, also after an exception, nothing has changed.

    The context restores the mode of each module, ``requires_grad`` and ``.grad`` of each parameter, the values of all
    buffers (BatchNorm statistics), and whether gradients and autocast are on. Inside, gradients are on, even if the
    caller has switched them off.

    Args:
        model: Any module.
        seed: Seed of torch's random numbers inside; outside, they continue as if nothing had happened. Default: do not
            touch them.
        float32: Switch autocast off. False: compute in the caller's precision.
    """
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    devices = gpus_in_use()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(evaluating(model))
        stack.enter_context(buffers_kept(model))
        for device in ('cpu', *(['cuda'] if devices else [])) if float32 else ():
            stack.enter_context(torch.autocast(device, enabled=False))
        if seed is not None:
            stack.enter_context(torch.random.fork_rng(devices))
            torch.manual_seed(seed)
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
                parameter.requires_grad_(False)
            yield model
        finally:
            for parameter, requires_grad, grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad


def to_pixels(space: PixelSpace, inputs: torch.Tensor) -> torch.Tensor:
    """Map what the model sees to pixels, 0-255, (B, C, H, W), float32. Whole pixel values stay whole.

    Raises:
        UserError: ``inputs`` is not a batch of images, or the result is not in pixels from 0 to 255, so that something
            else than the data preprocessor has scaled the images.
    """
    if not isinstance(inputs, torch.Tensor) or inputs.dim() != 4:
        raise UserError(f'An attack needs one batch of images, (B, C, H, W), but got {_describe(inputs)}.')
    # In inference mode, the clone turns the images into a normal tensor.
    pixels = space.denormalize(inputs.detach().float()).clone()
    whole = pixels.round()
    pixels = torch.where((pixels - whole).abs() < SNAP, whole, pixels)
    low, high = pixels.min().item(), pixels.max().item()
    if not (low >= 0 and high <= 255) or (0 < high <= 1 and not torch.equal(pixels, pixels.round())):
        raise UserError(
            f'Without the normalisation of the data preprocessor, the images are from {low:.4g} to {high:.4g}, not '
            'pixels from 0 to 255, so eps would mean nothing. Take Normalize and ToTensor out of the pipeline, and '
            'set data_preprocessor.mean and std in pixels.'
        )
    return pixels


class PixelClassifier:
    """A classifier of mmpretrain as a function of images in pixels, 0-255.

    Args:
        model: A classifier; ``model(inputs, mode='tensor')`` gives logits, (B, classes).

    Raises:
        UserError: Its data preprocessor does not state its normalisation.
    """

    def __init__(self, model: Any):
        self.model, self.space = model, PixelSpace.of(model.data_preprocessor)

    def to_pixels(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map what the classifier sees to pixels, as :func:`to_pixels`."""
        return to_pixels(self.space, inputs)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the logits, (B, classes), float32."""
        logits = self.model(self.space.normalize(pixels), mode='tensor')
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
            raise UserError(
                f'An attack needs the logits of a classifier, (B, classes), but {type(self.model).__name__} gives '
                f'{_describe(logits)}. Use a classifier with one head.'
            )
        return logits.float()

    def unit_logits(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits of images from 0 to 1, the range of other libraries."""
        return self.logits(images * 255)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the input of the head: the last output of the neck or, without a neck, of the backbone."""
        return last_tensor(self.model.extract_feat(self.space.normalize(pixels)))

    @torch.no_grad()
    def classes(self, pixels: torch.Tensor) -> torch.Tensor:
        """Predict the classes, (B,)."""
        return self.logits(pixels).argmax(dim=1)


def last_tensor(output: Any) -> torch.Tensor:
    """Return the last of nested outputs."""
    while isinstance(output, (tuple, list)):
        output = output[-1]
    return output


def _describe(value) -> str:
    return f'shape {tuple(value.shape)}' if isinstance(value, torch.Tensor) else type(value).__name__
