"""Several attempts on each image: restarts of one attack, or different attacks in sequence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass
class AttackResult:
    """The outcome of several attempts on a batch.

    Attributes:
        x_adv: Perturbed images, (B, C, H, W): those of the first attempt that broke the image, else of the last
            attempt. An image whose clean version is misclassified is not perturbed.
        attempt: Number of the attempt that broke each image, (B,), from 1. 0: the clean image is misclassified. -1: no
            attempt broke the image.
    """

    x_adv: torch.Tensor
    attempt: torch.Tensor

    @property
    def success(self) -> torch.Tensor:
        """Whether each image is misclassified, (B,), bool."""
        return self.attempt >= 0


def keep_first_success(
    attempts: Iterable[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]],
    predict: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    labels: torch.Tensor,
) -> AttackResult:
    """Run attempts in sequence, each on the images that are still classified correctly.

    Args:
        attempts: Functions that map images (N, C, H, W) and labels (N,) to perturbed images. To restart an attack with
            a random start, repeat its function.
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
