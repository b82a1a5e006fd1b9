"""AEMIM on iBOT."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.registry import MODELS

from ...errors import UserError
from ...replay import replaced
from ..baselines import IBOT
from .adversarial_mim import AdversarialMIM
from .records import TwoPasses


@MODELS.register_module()
class AEIBOT(AdversarialMIM, IBOT):
    """AEMIM on iBOT: the global views of the student are attacked, and local crops stay as they are.

    The images of the algorithm are the global views of B images, (2B, C, H, W), all first views first. The teacher,
    its centres and its outputs are those of the clean pass, unless ``adv_target`` is ``adv``. The two views of an image
    belong together, and the teacher's outputs for hidden patches have no batch dimension, so ``adv_share`` is 1.

    Source: AEMIM, arXiv 2407.11537; iBOT, arXiv 2111.07832.
    """

    prediction_layer = 'head.last_layer'
    sample_fields = ('mask',)
    target_names = ('teacher',)
    default_target = 'clean'
    once_a_step = ('momentum_update', 'update_centers')

    def __init__(self, *args, adv_share: float = 1.0, **kwargs):
        if adv_share != 1:
            raise UserError(f'adv_share is 1 for iBOT, because its views belong together, but got {adv_share!r}.')
        super().__init__(*args, **kwargs)

    def two_passes(self, *args, **kwargs) -> TwoPasses:
        """As :meth:`AdversarialMIM.two_passes`. The centres move at the end, so that both passes see the same."""
        moves: list = []
        with replaced(self, 'update_centers', moves.append):
            step = super().two_passes(*args, **kwargs)
        for targets in moves:
            self.update_centers(targets)
        return step

    def attacked_images(self, inputs: Any) -> torch.Tensor:
        """Return the global views in one batch, (2B, C, H, W)."""
        views = inputs if isinstance(inputs, Sequence) else [inputs]
        return views[0] if len(views) < 2 or views[0].shape != views[1].shape else torch.cat([*views[:2]])

    def with_attacked_images(self, inputs: Any, images: torch.Tensor) -> Any:
        """Return views with other global ones, (2B, C, H, W); local crops stay."""
        views = inputs if isinstance(inputs, Sequence) else [inputs]
        return [images, *views[1 if len(views[0]) == len(images) else 2 :]]
