"""AEMIM on CAE."""

import torch
from mmpretrain.models import CAE
from mmpretrain.registry import MODELS
from torch import nn

from ...adapters import sync_adapters
from .adversarial_mim import AdversarialMIM


@MODELS.register_module()
class AECAE(AdversarialMIM, CAE):
    """AEMIM on CAE.

    mmpretrain pairs the parameters of encoder and teacher by position, which adversarial weights shift. Here, they are
    paired by name, and the teacher has no adversarial weights.

    Source: AEMIM, arXiv 2407.11537; CAE, arXiv 2202.03026.
    """

    prediction_layer = 'neck.head'
    sample_fields = ('mask',)
    target_names = ('teacher', 'target_generator')
    default_target = 'clean'
    once_a_step = ('momentum_update',)

    teacher: nn.Module

    def init_weights(self) -> None:
        """Initialise the weights; the teacher's are the encoder's."""
        super(CAE, self).init_weights()
        self._teach(0.0)
        sync_adapters(self)

    def momentum_update(self) -> None:
        """Move the teacher towards the encoder."""
        self._teach(self.momentum)

    @torch.no_grad()
    def _teach(self, momentum: float) -> None:
        own = dict(self.backbone.named_parameters())
        for name, parameter in self.teacher.named_parameters():
            parameter.copy_(parameter * momentum + own[name] * (1.0 - momentum))
