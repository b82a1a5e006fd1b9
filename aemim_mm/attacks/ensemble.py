"""Several attempts on each image: restarts of one attack, or different attacks one after the other."""

from dataclasses import dataclass

import torch


@dataclass
class AttackResult:
    """What attacks on a batch gave.

    Attributes:
        x_adv: Perturbed images, (B, C, H, W): the first that was misclassified, else that of the last attempt. Images
            that were misclassified already are left as they are.
        attempt: Which attempt broke each image, (B,): 1 is the first; 0, it was misclassified already; -1, none.
    """

    x_adv: torch.Tensor
    attempt: torch.Tensor

    @property
    def success(self) -> torch.Tensor:
        """Which images are misclassified, (B,), bool."""
        return self.attempt >= 0


def keep_first_success(attempts, predict, x, labels) -> AttackResult:
    """Try one attack after another, each on the images that are still classified correctly.

    Args:
        attempts: Functions of correctly classified images (N, C, H, W) and their labels (N,), to perturbed images. The
            same function several times, if it starts at random, is an attack with restarts.
        predict: Maps images to classes, (B,).
        x, labels: Clean images (B, C, H, W) and their classes (B,).
    """
    x_adv = x.detach().clone()
    attempt = torch.where(predict(x_adv) == labels, -1, 0)
    for number, attack in enumerate(attempts, start=1):
        left = (attempt < 0).nonzero().squeeze(1)
        if not len(left):
            break
        x_adv[left] = attack(x[left].detach(), labels[left])
        attempt[left[predict(x_adv[left]) != labels[left]]] = number
    return AttackResult(x_adv, attempt)
