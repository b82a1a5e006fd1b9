"""AEMIM on SimMIM."""

import torch
from mmpretrain.models import SimMIM
from mmpretrain.registry import MODELS

from ...errors import UserError
from ...replay import RecordedCall
from ..sizes import check_simmim
from .adversarial_mim import AdversarialMIM


@MODELS.register_module()
class AESimMIM(AdversarialMIM, SimMIM):
    """AEMIM on SimMIM, with Swin (``SimMIMSwinTransformer``) or ViT (``SimMIMViT``).

    Source: AEMIM, arXiv 2407.11537; SimMIM, arXiv 2111.09886.
    """

    prediction_layer = 'neck.decoder.0'
    sample_fields = ('mask',)
    _is_checked = False

    def loss(self, inputs: torch.Tensor, data_samples: list | None, **kwargs) -> dict:
        """As :meth:`AdversarialMIM.loss`. The first batch has to fit the model, else that is a UserError."""
        if not self._is_checked:  # Once, because the check waits for the device.
            if not data_samples or not all('mask' in sample for sample in data_samples):
                raise UserError(
                    'SimMIM needs a mask for each image, but got none. Put BlockMaskGenerator into the pipeline, '
                    'before PackInputs.'
                )
            masks = torch.stack([sample.mask for sample in data_samples])
            check_simmim(self.backbone, self.neck, self.head, inputs, masks)
            self._is_checked = True
        return super().loss(inputs, data_samples, **kwargs)

    def mask_of(self, call: RecordedCall) -> torch.Tensor:
        """Return the mask of a recorded call of the backbone, (B, rows, columns), 1 = hidden."""
        return call.args[1]

    def image_of(self, pred: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return predictions of the neck, which are normalised images already, (B, C, H, W)."""
        return pred
