"""Distances between two sets of features, summed over the batch; an attack maximises them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from ..errors import unknown_name


def squared_l2(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (features - target).square()


def l1(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (features - target).abs()


def cosine(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1 - F.cosine_similarity(features, target, dim=-1)


def kl(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the terms of KL(target || features) of the softmax over channels, as in feature distillation."""
    return F.kl_div(features.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction='none')


DISTANCES = {'l2': squared_l2, 'l1': l1, 'cosine': cosine, 'kl': kl}


def feature_distance(
    name: str, pooled: bool = False, per_image: bool = False
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the distance of this name.

    Args:
        name: ``l2`` (squared), ``l1``, ``cosine`` or ``kl``.
        pooled: Take the mean over tokens or positions of both features first.
        per_image: Return the distance of each image.

    Returns:
        A function that maps two tensors (B, L, C) or (B, C, H, W) to a float32 scalar, or (B,) with ``per_image``.
        ``cosine`` and ``kl`` are over C in both cases.

    Raises:
        UserError: An unknown name.
    """
    if name not in DISTANCES:
        raise unknown_name('distance', name, DISTANCES)

    return partial(_distance, DISTANCES[name], pooled, per_image)


def _distance(terms, pooled, per_image, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    # A sum over 10^7 numbers needs more bits than bfloat16 has.
    pair = [_channels_last(one).float() for one in (features, target)]
    if pooled:
        pair = [one.flatten(1, -2).mean(1) for one in pair]
    found = terms(*pair)
    return found.flatten(1).sum(1) if per_image else found.sum()


def _channels_last(x):
    return x.movedim(1, -1) if x.dim() == 4 else x
