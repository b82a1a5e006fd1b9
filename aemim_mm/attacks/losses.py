"""Losses of a classifier, summed over the batch so that images do not share a step; an attack maximises them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..errors import unknown_name


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy, summed over the images."""
    return F.cross_entropy(logits, labels, reduction='sum')


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the largest other logit minus the true logit, summed over the images.

    It is positive for a misclassified image. Unlike cross-entropy, its gradient does not vanish for a confident
    classifier.

    Source: Carlini and Wagner, arXiv 1608.04644, section V-A, f_6 untargeted and without the limit at zero.
    """
    labels = labels[:, None]
    others = logits.scatter(1, labels, float('-inf'))
    return (others.amax(dim=1) - logits.gather(1, labels).squeeze(1)).sum()


LOSSES = {'ce': cross_entropy, 'margin': margin}


def classification_loss(name: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss of this name.

    Args:
        name: ``ce`` (cross-entropy) or ``margin``.

    Returns:
        A function that maps logits (B, classes) and labels (B,) to a float32 scalar.

    Raises:
        UserError: An unknown name.
    """
    if name not in LOSSES:
        raise unknown_name('loss', name, LOSSES)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return LOSSES[name](logits.float(), labels)

    return loss
