"""AEMIM on the methods of mmpretrain that need a few lines.

Source: AEMIM, arXiv 2407.11537. Each class names the source of its method.
"""

from typing import Any

import torch
from mmpretrain.models import EVA, MFF, MILAN, BEiT, HOGGenerator, MaskFeat, MixMIM, iTPN
from mmpretrain.registry import MODELS

from .adversarial_mim import AdversarialMIM


@MODELS.register_module()
class AEBEiT(AdversarialMIM, BEiT):
    """AEMIM on BEiT (arXiv 2106.08254) and BEiT v2 (arXiv 2208.06366)."""

    prediction_layer = 'head.cls_head'
    sample_fields = ('mask',)
    default_target = 'clean'

    def features(self, output: Any) -> torch.Tensor:
        """Select the last layer's features, (B, 1 + L, C). BEiT v2 also returns an early layer's."""
        return output[-1]


@MODELS.register_module()
class Float32HOGGenerator(HOGGenerator):
    """mmpretrain's ``HOGGenerator``, always in float32: on a CPU, it fails in bfloat16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute histograms of oriented gradients, (B, L, D), of images (B, 3, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


@MODELS.register_module()
class AEMaskFeat(AdversarialMIM, MaskFeat):
    """AEMIM on MaskFeat, arXiv 2112.09133."""

    prediction_layer = 'neck.fc'
    sample_fields = ('mask',)


@MODELS.register_module()
class AEMILAN(AdversarialMIM, MILAN):
    """AEMIM on MILAN, arXiv 2208.06049."""

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()

    def adversarial_target(self, clean: Any, adv: Any) -> Any:
        """Take the features of the adversarial images, and the clean attention, which decides the mask."""
        return adv[0], clean[1]


@MODELS.register_module()
class AEMixMIM(AdversarialMIM, MixMIM):
    """AEMIM on MixMIM, arXiv 2205.13137.

    It mixes each image with one of the same batch, so the attack on an image also depends on its partner. With an
    ``adv_share`` below 1, attacked images are mixed with each other.
    """

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()


@MODELS.register_module()
class AEEVA(AdversarialMIM, EVA):
    """AEMIM on EVA in the manner of MAE, arXiv 2211.07636."""

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()


@MODELS.register_module()
class AEMFF(AdversarialMIM, MFF):
    """AEMIM on MFF, arXiv 2308.00261."""

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()


@MODELS.register_module()
class AEiTPN(AdversarialMIM, iTPN):
    """AEMIM on iTPN, arXiv 2211.12735, which reconstructs pixels or features of CLIP."""

    sample_fields = ('mask',)

    @property
    def prediction_layer(self) -> str:
        """The layer that predicts pixels or features."""
        return 'neck.decoder_pred' if self.backbone.reconstruction_type == 'pixel' else 'head.cls_head'

    def features(self, output: Any) -> torch.Tensor:
        """Select the features of the last stage, (B, L, C)."""
        return output[0][-1] if isinstance(output[0], (tuple, list)) else output[-1]
