"""MAE with a decoder for a part of the hidden patches, and AEMIM on MAE and on the methods that change MAE a little."""

from typing import Any

import torch
from mmpretrain.models import MAE
from mmpretrain.registry import MODELS
from torch import nn

from ...errors import UserError
from ...replay import RecordedCall
from ..baselines import HPM, MIMIR
from ..mae_parts import AEMIMHead
from ..patches import patch_grid
from ..sizes import check_mae
from .adversarial_mim import AdversarialMIM
from .records import TwoPasses


@MODELS.register_module()
class PartialMAE(MAE):
    """mmpretrain's ``MAE``. In training, it decodes the share of the hidden patches that its neck states.

    With ``AEMIMDecoder(decode_share=1)``, and with mmpretrain's own necks, it is ``MAE``.

    Source: MAE, arXiv 2111.06377; CrossMAE, arXiv 2401.14391, section 3.3.
    """

    backbone: nn.Module
    neck: Any
    head: Any

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_mae(self.backbone, self.neck, self.head)

    def loss(self, inputs: torch.Tensor, data_samples: Any, **kwargs) -> dict:
        """Reconstruct hidden patches of images (B, C, H, W), and return the loss."""
        if not hasattr(self.neck, 'decoded_patches'):
            return super().loss(inputs, data_samples, **kwargs)
        latent, mask, ids_restore, *layers = self.backbone(inputs, **self.neck.encoder_options)
        decoded = self.neck.decoded_patches(ids_restore, latent.shape[1] - 1)
        chosen = {} if decoded is None else dict(decoded=decoded)
        pred = self.neck(latent, ids_restore, *layers, **chosen)
        return dict(loss=self.head.loss(pred, inputs, mask, **chosen))


class MAEPictures:
    """What panels need to know of an algorithm on MAE."""

    head: AEMIMHead

    def check_pictures(self) -> None:
        """Raise a UserError if the head cannot turn predictions into pixels."""
        if not isinstance(self.head, AEMIMHead):
            raise UserError(f"Panels need model.head.type='AEMIMHead', but got a {type(self.head).__name__}.")

    def mask_of(self, call: RecordedCall) -> torch.Tensor:
        """Return the mask of a recorded call of the backbone, (B, rows, columns), 1 = hidden."""
        return call.output[1].unflatten(1, patch_grid(call.args[0].shape[-2:], self.head.patch_size))

    def image_of(self, pred: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Turn predictions of the neck into normalised images, (B, C, H, W)."""
        return self.head.unpatchify(self.head.unnormalize(pred, images), images.shape[-2:])


@MODELS.register_module()
class AEMIM(MAEPictures, AdversarialMIM, PartialMAE):
    """AEMIM on MAE.

    Source: AEMIM, arXiv 2407.11537; MAE, arXiv 2111.06377.
    """

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()


@MODELS.register_module()
class AEHPM(MAEPictures, AdversarialMIM, HPM):
    """AEMIM on HPM. The teacher sees the clean images, and all passes hide the same patches.

    Source: AEMIM, arXiv 2407.11537; HPM, arXiv 2304.05919.
    """

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()
    target_names = ('teacher',)
    targets_decide_masks = True
    once_a_step = ('momentum_update',)


@MODELS.register_module()
class AEMIMIR(MAEPictures, AdversarialMIM, MIMIR):
    """AEMIM on MIMIR, whose adversarial examples are the images of the clean pass.

    Both passes reconstruct the clean images, and all images are attacked: ``adv_target`` is ``clean`` and ``adv_share``
    is 1. Both attacks have the budget of the data preprocessor.

    Source: AEMIM, arXiv 2407.11537; MIMIR, arXiv 2312.04960.
    """

    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()

    def __init__(self, *args, adv_target: str = 'clean', adv_share: float = 1.0, **kwargs):
        if adv_target != 'clean' or adv_share != 1:
            raise UserError(
                'For MIMIR, which attacks all images and reconstructs clean ones, adv_target is clean and adv_share 1, '
                f'but got {adv_target!r} and {adv_share!r}.'
            )
        super().__init__(*args, adv_target=adv_target, **kwargs)

    def two_passes(self, inputs: torch.Tensor, *args, **kwargs) -> TwoPasses:
        """As :meth:`AdversarialMIM.two_passes`, of MIMIR's adversarial examples of images (B, C, H, W)."""
        return super().two_passes(self.adversarial_examples(inputs), *args, target=inputs, **kwargs)
