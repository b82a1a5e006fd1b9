"""HPM: hard patches mining. A teacher predicts which patches are hard to reconstruct, and these are hidden."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import MAE
from mmpretrain.registry import MODELS

from ...adapters import adapted_layers
from ...errors import UserError
from ..schedule import Schedule, epochs
from ..sizes import check_mae
from ..vit import AEMIMViT
from .hpm_parts import HPMDecoder, HPMHead, HPMTeacher
from .teacher import TaughtAlgorithm

Points = Sequence[tuple[float, float]]


@MODELS.register_module()
class HPM(TaughtAlgorithm, MAE):
    """MAE, with masks that hide what is hard to reconstruct.

    An auxiliary decoder learns which of two hidden patches has the higher reconstruction loss. The teacher, a moving
    average of the model, predicts this for all patches of the whole image. A share of the hidden patches are those with
    the highest predicted loss. The others are random.

    Args:
        backbone: An ``AEMIMViT`` with ``adapters=()``: the teacher is a copy of it, and has no adversarial weights.
        neck: An ``HPMDecoder``.
        head: An ``HPMHead``.
        hard_share: Which share of the hidden patches is chosen by the teacher, in [0, 1]: a number, or points
            ``[(progress, value), ...]`` with progress from 0 to 1 and straight lines between them. It changes with each
            epoch. The progress of epoch number k of n is k / n. Default: it grows to 0.5. Outside training, the last
            value.
        momentum: Share of the teacher that stays at each step of the optimizer, in [0, 1], in the same form. Default:
            for 100 of 800 epochs from 0.999 to 0.9999.
        **kwargs: Arguments of mmpretrain's ``MAE``.

    Raises:
        UserError: Another part, a value out of its range, or sizes that do not fit.

    Source: HPM, arXiv 2304.05919, section 3; the schedule of the momentum, from the release of its authors.
    """

    backbone: AEMIMViT
    neck: HPMDecoder
    head: HPMHead
    teacher: HPMTeacher

    def __init__(
        self,
        *args,
        hard_share: float | Points = ((0, 0.0), (1, 0.5)),
        momentum: float | Points = ((0, 0.999), (0.125, 0.9999)),
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.share_schedule = _share('hard_share', hard_share)
        self.momentum_schedule = _share('momentum', momentum)
        for name, kind in (('backbone', AEMIMViT), ('neck', HPMDecoder), ('head', HPMHead)):
            part = getattr(self, name)
            if not isinstance(part, kind):
                raise UserError(f"HPM needs model.{name}.type='{kind.__name__}', but got a {type(part).__name__}.")
        check_mae(self.backbone, self.neck, self.head)
        if adapted_layers(self.backbone):
            raise UserError(
                'The teacher of HPM is a copy of the encoder without adversarial weights. Set model.backbone.adapters='
                '(); for AEHPM, model.adapters chooses them.'
            )
        self.add_teacher(HPMTeacher(self.backbone, self.neck))

    @property
    def momentum(self) -> float:
        """The share of the teacher that stays at this moment of training."""
        return self.momentum_schedule.now()

    def loss(self, inputs: torch.Tensor, data_samples: Any, **kwargs) -> dict:
        """Reconstruct the hidden patches of images (B, C, H, W), and predict the order of their losses.

        Returns:
            ``loss_pixels`` and ``loss_relative``, as of ``HPMHead``.
        """
        if self.training:
            self.momentum_update()
        priorities = self.priorities(self.teacher(inputs))
        latent, _, ids_restore = self.backbone(inputs, priorities)
        ids = ids_restore.argsort(dim=1)[:, latent.shape[1] - 1 :]
        pred = self.neck(latent, ids_restore)
        return self.head.loss(pred, inputs, ids, self.neck.predicted_losses(latent, ids_restore))

    def priorities(self, predicted: torch.Tensor) -> torch.Tensor:
        """Draw the order in which patches are hidden.

        Args:
            predicted: Predicted losses of all patches, (B, L).

        Returns:
            (B, L), random in [0, 1), and 1 more for the hard patches.
        """
        finished, whole = epochs()
        hidden = predicted.shape[1] - self.backbone.count_visible(predicted.shape[1])
        hard = predicted.topk(int(hidden * self.share_schedule.at((finished + 1) / whole)), dim=1).indices
        drawn = torch.rand(predicted.shape, device=predicted.device)
        return drawn.scatter_add(1, hard, torch.ones_like(drawn))


def _share(name: str, value: float | Points) -> Schedule:
    schedule = Schedule(name, value)
    if max(height for _, height in schedule.points) > 1:
        raise UserError(f'{name} is in [0, 1], but got {value!r}.')
    return schedule
