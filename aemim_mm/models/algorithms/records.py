"""What one step of ``AdversarialMIM`` gives."""

from dataclasses import dataclass, field

import torch

from ...replay import Pass
from ..objectives import Objective


@dataclass
class Attack:
    """Adversarial images, and how the attack on them went.

    Attributes:
        objective: What the attack maximises.
        x_adv: Adversarial images, normalised, (B, C, H, W).
        values: The objective per image at each gradient step and, last, for ``x_adv``.
        zero_grad: Share of zeros in the last gradient. Hidden patches give no gradient, so with ``attack_mask='same'``
            MAE's share is its mask ratio. A larger share is numerical underflow.
    """

    objective: Objective
    x_adv: torch.Tensor
    zero_grad: torch.Tensor
    values: list = field(default_factory=list)

    def observe(self, value: torch.Tensor, gradient: torch.Tensor) -> None:
        """Note the objective of the batch and its gradient at one step."""
        self.values.append(value / len(gradient))
        self.zero_grad = (gradient == 0).float().mean()

    def observe_end(self, adv: Pass) -> None:
        """Note the objective of the adversarial images."""
        self.values.append(self.objective.of(adv).sum() / len(adv.images))

    def log(self) -> dict:
        """The objective per image at the start and the end, their ratio, and the share of zero gradients."""
        start, end = self.values[0], self.values[-1]
        gain = torch.where(start > 0, end / start, torch.zeros_like(start))
        return dict(attack_start=start, attack_end=end, attack_gain=gain, attack_zero_grad=self.zero_grad)


@dataclass
class TwoPasses:
    """The clean pass, the adversarial pass, and the attack between them. The losses are not weighted."""

    clean: Pass
    adv: Pass
    attack: Attack
