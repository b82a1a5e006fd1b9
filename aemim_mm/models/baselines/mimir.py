"""MIMIR: MAE that sees adversarial examples and reconstructs the clean images."""

from typing import Any

import torch
from mmpretrain.models import MAE
from mmpretrain.registry import MODELS
from torch import nn

from ...attacks import check_perturbs
from ...data_preprocessor import AdvDataPreprocessor
from ..modes import only_inputs_need_gradients
from ..precision import attack_precision
from .hsic import normalized_hsic


@MODELS.register_module()
class MIMIR(MAE):
    """MIMIR. There is one pass: the encoder sees adversarial examples, and the clean images are reconstructed.

    The attack maximises the loss with which MAE reconstructs the adversarial example itself. Each step of the attack,
    and then the training pass, has a mask of its own. A penalty on the dependence between the encoder's output and the
    adversarial example makes the encoder forget the perturbation.

    Args:
        hsic_weight: Weight of this penalty, >= 0.
        **kwargs: Arguments of mmpretrain's ``MAE``. ``data_preprocessor`` is an ``AdvDataPreprocessor``.

    Raises:
        UserError: The data preprocessor cannot perturb images.

    Source: MIMIR, arXiv 2312.04960; the attack and the estimate of the dependence, from the release of its authors.
    """

    backbone: nn.Module
    neck: nn.Module
    head: Any
    data_preprocessor: AdvDataPreprocessor

    def __init__(self, *args, hsic_weight: float = 1e-5, **kwargs):
        super().__init__(*args, **kwargs)
        check_perturbs(self.data_preprocessor)
        self.hsic_weight = hsic_weight

    def loss(self, inputs: torch.Tensor, data_samples: Any, target: torch.Tensor | None = None, **kwargs) -> dict:
        """Reconstruct images from adversarial examples of them.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: Not used.
            target: If given, these are the images, and ``inputs`` are adversarial examples of them already.

        Returns:
            ``loss_pixels``, the mean over hidden patches, and ``loss_hsic``, which is weighted.
        """
        if target is None:
            inputs, target = self.adversarial_examples(inputs), inputs
        latent, mask, ids_restore = self.backbone(inputs)
        pred = self.neck(latent, ids_restore)
        # The width of the kernel is meant for pixels from 0 to 1.
        pixels = self.data_preprocessor.denormalize(inputs) / 255
        dependence = normalized_hsic(latent.flatten(1), pixels.flatten(1))
        return dict(loss_pixels=self.head.loss(pred, target, mask), loss_hsic=self.hsic_weight * dependence)

    def adversarial_examples(self, images: torch.Tensor) -> torch.Tensor:
        """Make adversarial examples (B, C, H, W) of images. In float16 training, this is in float32."""

        def objective(x):
            # MAE's loss is a mean over the batch.
            return super(MIMIR, self).loss(x, [])['loss'] * len(x)

        with only_inputs_need_gradients(self), attack_precision('auto', images.device.type):
            return self.data_preprocessor.perturb(images, objective)
