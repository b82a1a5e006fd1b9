"""AEMIM on CIM."""

from typing import Any

import torch
from mmpretrain.registry import MODELS

from ...errors import UserError
from ...replay import Pass, outputs_given_back
from ..baselines import CIM
from .adversarial_mim import AdversarialMIM


@MODELS.register_module()
class AECIM(AdversarialMIM, CIM):
    """AEMIM on CIM: a perturbation of an image moves its corrupted image alike, which the encoder sees.

    The corruption of a batch is drawn once. The attack and the adversarial pass add their perturbation to it, so no
    gradient has to pass the tokenizer. With ``adv_target='adv'``, the pixels to recover are those of the adversarial
    image. The generator is trained in the clean pass only. ``attack_mask`` is ``same`` (the encoder sees the corrupted
    image) or ``none`` (the image itself).

    Source: AEMIM, arXiv 2407.11537; CIM, arXiv 2202.03382.
    """

    prediction_layer = 'head.predict'
    sample_fields = ()
    once_a_step = CIM.once_a_step
    clean_only = ('generator',)

    def __init__(self, *args, attack_mask: str = 'same', **kwargs):
        if attack_mask == 'resampled':
            raise UserError("A corruption is drawn once: attack_mask is 'same' or 'none' for CIM, but got 'resampled'.")
        super().__init__(*args, attack_mask=attack_mask, **kwargs)

    def adversarial_pass(self, attacked: Pass, x_adv: torch.Tensor) -> Pass:
        """As of ``Algorithm``, without another corruption."""

        def moved(outputs: list) -> list[Any]:
            return [corruption._replace(target=x_adv) for corruption in outputs]

        drawn = {network: moved(outputs) for network, outputs in attacked.targets.items()}
        with outputs_given_back(drawn):
            return super().adversarial_pass(attacked, x_adv)
