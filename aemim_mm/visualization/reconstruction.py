"""Pictures of what a pre-training model sees and predicts, in both domains."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..domain import Domain, use_domain
from ..replay import recorded_calls


@dataclass
class Reconstruction:
    """Pictures of a batch, in pixels 0-255, each (B, C, H, W).

    Attributes:
        image: What was to be reconstructed.
        masked: The same with hidden patches in grey.
        pred: The prediction in hidden patches, the image elsewhere.
    """

    image: torch.Tensor
    masked: torch.Tensor
    pred: torch.Tensor


@torch.no_grad()
def reconstruct(model, inputs, data_samples=None) -> dict[Domain, Reconstruction]:
    """Both passes of an AEMIM model in eval mode, as pictures; the model and its mode are left as they were.

    Args:
        model: An ``AdversarialMIM``.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One for each image, where the algorithm takes its masks from them.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with recorded_calls(model.neck) as necks, use_domain(model, Domain.CLEAN):
            step = model.two_passes(inputs, data_samples)
    finally:
        for module in training:  # Not model.train(): a part of the model may be in eval mode for good.
            module.training = True
    passes = {Domain.CLEAN: step.clean, Domain.ADV: step.adv}
    return {
        domain: _pictures(model, one.images, one.call, neck.output)
        for (domain, one), neck in zip(passes.items(), necks, strict=True)
    }


def _pictures(model, images, call, prediction) -> Reconstruction:
    mask = model.mask_of(call)[:, None].to(images)
    mask = F.interpolate(mask, images.shape[-2:], mode='nearest')
    pred = model.image_of(prediction, images)
    pixels, pred = (model.data_preprocessor.denormalize(part.float()).clamp(0, 255) for part in (images, pred))
    return Reconstruction(pixels, pixels * (1 - mask) + 127 * mask, pixels * (1 - mask) + pred * mask)
