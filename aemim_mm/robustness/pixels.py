"""A classifier as a function of pixels, 0-255; and a promise to leave it as it was."""

from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from ..errors import UserError

# Normalising and its inverse, in float32, are off by about 1e-5 pixels.
SNAP = 1e-3


@contextmanager
def left_as_it_was(model: nn.Module, *, seed: int | None = None, float32: bool = True):
    """Inside: eval mode, float32, gradients for inputs only. Afterwards, also after an exception, nothing has changed.

    What is put back: the training mode of each module, ``requires_grad`` and ``.grad`` of each parameter, the values of
    all buffers (BatchNorm statistics), and whether gradients and autocast are on. Inside, gradients are on, even where
    the caller has switched them off.

    Args:
        model: Any module.
        seed: Random numbers of torch inside begin with this seed, and go on outside as if nothing had happened. None:
            they are left alone.
        float32: Without autocast. False: in whatever precision the caller computes.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    buffers = [
        (module._buffers, name, buffer, buffer if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ('cpu', *(['cuda'] if devices else [])) if float32 else ():
            stack.enter_context(torch.autocast(device, enabled=False))
        if seed is not None:
            stack.enter_context(torch.random.fork_rng(devices))
            torch.manual_seed(seed)
        try:
            model.eval()
            for parameter, _, _ in parameters:
                parameter.grad = None
                parameter.requires_grad_(False)
            yield model
        finally:
            for module, training in modes:
                module.training = training
            for parameter, requires_grad, grad in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = grad
            with torch.no_grad():
                for owner, name, buffer, value in buffers:
                    owner[name] = buffer if buffer is None else buffer.copy_(value)


class PixelSpace:
    """The normalisation of a data preprocessor of mmpretrain, and its inverse.

    Args:
        data_preprocessor: ``ClsDataPreprocessor``, ``SelfSupDataPreprocessor`` or one with the same ``mean`` and
            ``std``, in pixels.

    Raises:
        UserError: It has no such normalisation.
    """

    def __init__(self, data_preprocessor):
        if not hasattr(data_preprocessor, '_enable_normalize'):
            raise UserError(
                f'An attack works on pixels, 0-255, and undoes the normalisation of the data preprocessor, but a '
                f'{type(data_preprocessor).__name__} states none. Use ClsDataPreprocessor with mean and std.'
            )
        self.normalizes = data_preprocessor._enable_normalize
        self.mean, self.std = (data_preprocessor.mean, data_preprocessor.std) if self.normalizes else (0.0, 1.0)

    def to_inputs(self, pixels):
        """Pixels, 0-255, to what the model sees."""
        return (pixels - self.mean) / self.std if self.normalizes else pixels

    def to_pixels(self, inputs):
        """What the model sees to pixels, 0-255, (B, C, H, W). Whole pixel values come back as whole pixel values.

        Raises:
            UserError: These are no pixels from 0 to 255, so something else than the preprocessor has scaled them.
        """
        if not isinstance(inputs, torch.Tensor) or inputs.dim() != 4:
            raise UserError(f'An attack needs one batch of images, (B, C, H, W), but got {_describe(inputs)}.')
        # The clone is a normal tensor, also where the caller is in inference mode.
        pixels = (inputs.detach().float() * self.std + self.mean).clone()
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
        model: ``model(inputs, mode='tensor')`` gives logits, (B, classes).
    """

    def __init__(self, model):
        self.model, self.space = model, PixelSpace(model.data_preprocessor)

    def logits(self, pixels):
        """Logits, (B, classes), float32."""
        logits = self.model(self.space.to_inputs(pixels), mode='tensor')
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
            raise UserError(
                f'An attack needs the logits of a classifier, (B, classes), but {type(self.model).__name__} gives '
                f'{_describe(logits)}. Use a classifier with one head.'
            )
        return logits.float()

    def unit_logits(self, images):
        """Logits of images from 0 to 1, as other libraries want them."""
        return self.logits(images * 255)

    def features(self, pixels):
        """What the head gets: the last output of the neck or, without a neck, of the backbone."""
        return last_tensor(self.model.extract_feat(self.space.to_inputs(pixels)))

    @torch.no_grad()
    def classes(self, pixels):
        """The predicted classes, (B,)."""
        return self.logits(pixels).argmax(dim=1)


def last_tensor(output):
    """The last of nested outputs."""
    while isinstance(output, (tuple, list)):
        output = output[-1]
    return output


def _describe(value) -> str:
    return f'shape {tuple(value.shape)}' if isinstance(value, torch.Tensor) else type(value).__name__
