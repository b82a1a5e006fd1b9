"""Pictures of the input and the reconstruction of a pre-training model, in both domains."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ..domain import Domain, use_domain
from ..models.modes import evaluating
from ..replay import recorded_calls


@dataclass
class Reconstruction:
    """Pictures of a batch, in pixels 0-255, each (B, C, H, W).

    Attributes:
        image: The image to reconstruct.
        masked: The image with hidden patches in grey.
        pred: The prediction in hidden patches, the image elsewhere.
    """

    image: torch.Tensor
    masked: torch.Tensor
    pred: torch.Tensor


@torch.no_grad()
def reconstruct(model: Any, inputs: torch.Tensor, data_samples: list | None = None) -> dict[Domain, Reconstruction]:
    """Run both passes of an AEMIM model in eval mode and return them as pictures. The model does not change.

    Args:
        model: An ``AdversarialMIM``.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One sample for each image, if the algorithm takes its masks from samples.

    Raises:
        UserError: The model predicts no pixels.
    """
    model.check_pictures()
    with evaluating(model), recorded_calls(model.neck) as necks, use_domain(model, Domain.CLEAN):
        step = model.two_passes(inputs, data_samples)
    passes = {Domain.CLEAN: step.clean, Domain.ADV: step.adv}
    # MIMIR's own attack calls the neck before both passes.
    return {
        domain: _pictures(model, one.images, one.call, neck.output)
        for (domain, one), neck in zip(passes.items(), necks[-2:], strict=True)
    }


def _pictures(model, images, call, prediction) -> Reconstruction:
    mask = model.mask_of(call)[:, None].to(images)
    mask = F.interpolate(mask, images.shape[-2:], mode='nearest')
    pred = model.image_of(prediction, images)
    pixels, pred = (model.data_preprocessor.denormalize(each.float()).clamp(0, 255) for each in (images, pred))
    return Reconstruction(pixels, pixels * (1 - mask) + 127 * mask, pixels * (1 - mask) + pred * mask)
