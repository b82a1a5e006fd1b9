"""AEMIM on MAE."""

import torch
from mmpretrain.models import MAE
from mmpretrain.registry import MODELS

from ...replay import RecordedCall
from ..mae_parts import AEMIMHead
from ..patches import patch_grid
from .adversarial_mim import AdversarialMIM
from .sizes import check_mae


@MODELS.register_module()
class AEMIM(AdversarialMIM, MAE):
    """AEMIM on MAE.

    Source: AEMIM, arXiv 2407.11537; MAE, arXiv 2111.06377.
    """

    prediction_layer = 'decoder_pred'
    sample_fields = ()
    head: AEMIMHead

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_mae(self.backbone, self.neck, self.head)

    def mask_of(self, call: RecordedCall) -> torch.Tensor:
        """Return the mask of a recorded call of the backbone, (B, rows, columns), 1 = hidden."""
        return call.output[1].unflatten(1, patch_grid(call.args[0].shape[-2:], self.head.patch_size))

    def image_of(self, pred: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Turn predictions of the neck into normalised images, (B, C, H, W)."""
        return self.head.unpatchify(self.head.unnormalize(pred, images), images.shape[-2:])
