"""The decoder and the head of HPM, and its teacher."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from ..mae_parts import AEMIMDecoder, AEMIMHead
from ..vit import AEMIMViT
from .teacher import Teacher


@MODELS.register_module()
class HPMDecoder(AEMIMDecoder):
    """MAE's decoder, and an auxiliary decoder of the same size that predicts the loss of each patch.

    Both see the same embedded tokens, and share no layer after them.

    Args:
        **kwargs: Arguments of ``AEMIMDecoder``.

    Source: HPM, arXiv 2304.05919, section 3.2; the mean over the outputs, from the release of its authors.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # The norm's name has an ``ln``, so that mmpretrain's recipe does not decay it.
        self.loss_blocks, self.loss_ln = deepcopy(self.decoder_blocks), deepcopy(self.decoder_norm)
        self.loss_pred = deepcopy(self.decoder_pred)

    def predicted_losses(
        self, x: torch.Tensor, ids_restore: torch.Tensor, predict_visible: bool = False
    ) -> torch.Tensor:
        """Predict how large the reconstruction loss of each patch is, compared with the other patches of its image.

        Args:
            x: Tokens of the class and the visible patches, (B, 1 + L_visible, C).
            ids_restore: Position of each patch among the shuffled patches, (B, L).
            predict_visible: Predict for visible patches too, not only 0.

        Returns:
            (B, L), float32. The numbers have no unit: only their order has a meaning.
        """
        return self.decode((self.loss_blocks, self.loss_ln, self._score), x, ids_restore, None, predict_visible)[..., 0]

    def _score(self, tokens):
        return self.loss_pred(tokens).float().mean(dim=-1, keepdim=True)


@MODELS.register_module()
class HPMHead(AEMIMHead):
    """MAE's loss of each hidden patch, and the loss of their predicted order.

    Args:
        relative_weight: Weight of the latter, >= 0.
        **kwargs: Arguments of ``AEMIMHead``.
    """

    def __init__(self, *args, relative_weight: float = 1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.relative_weight = relative_weight

    def loss(self, pred: torch.Tensor, target: torch.Tensor, ids: torch.Tensor, predicted: torch.Tensor) -> dict:
        """Compute both losses.

        Args:
            pred: Predictions of all patches, (B, L, p * p * C).
            target: Normalised images, (B, C, H, W).
            ids: Ids of the hidden patches, (B, H).
            predicted: Predicted losses of all patches, (B, L).

        Returns:
            ``loss_pixels``, the mean over hidden patches, and ``loss_relative``, which is weighted.
        """
        errors = self.loss_module.penalty(pred, self.construct_target(target)).mean(dim=-1)
        errors, predicted = errors.gather(1, ids), predicted.gather(1, ids)
        relative = relative_loss(predicted, errors.detach())
        return dict(loss_pixels=errors.mean(), loss_relative=self.relative_weight * relative)


def relative_loss(predicted: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Compute the mean binary cross-entropy of the predicted order over all pairs of patches of an image.

    Pairs whose losses are equal do not count.

    Args:
        predicted: Predicted losses, (B, H).
        errors: The losses, (B, H).

    Source: HPM, arXiv 2304.05919, section 3.2. Its authors' release adds 1e-6 inside the logarithm; here, it is exact.
    """
    order = (errors.unsqueeze(2) - errors.unsqueeze(1)).sign().float()
    margins = order * (predicted.unsqueeze(2) - predicted.unsqueeze(1)).float()
    counts = order.abs()
    return (counts * F.softplus(-margins)).sum() / counts.sum().clamp(min=1)


class HPMTeacher(Teacher):
    """Copies of the encoder and of the decoder, without the layers that reconstruct, whose output nothing reads."""

    backbone: AEMIMViT
    neck: HPMDecoder

    def __init__(self, backbone: AEMIMViT, neck: HPMDecoder):
        super().__init__(backbone=backbone, neck=neck)
        for name in ('decoder_blocks', self.neck.decoder_norm_name, 'decoder_pred'):
            delattr(self.neck, name)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Predict the losses of all patches of whole images (B, C, H, W): (B, L)."""
        tokens = self.backbone(images, mask=None)[0]
        ids = torch.arange(tokens.shape[1] - 1, device=tokens.device).expand(len(tokens), -1)
        return self.neck.predicted_losses(tokens, ids, predict_visible=True)
