"""Distances between two sets of features, summed over the batch; an attack maximises them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from ..errors import unknown_name


def squared_l2(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (features - target).square().sum()


def l1(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (features - target).abs().sum()


def cosine(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (1 - F.cosine_similarity(features, target, dim=-1)).sum()


def kl(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute KL(target || features) of the softmax over channels, as in feature distillation."""
    return F.kl_div(features.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction='sum')


DISTANCES = {'l2': squared_l2, 'l1': l1, 'cosine': cosine, 'kl': kl}


def feature_distance(name: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the distance of this name.

    Args:
        name: ``l2`` (squared), ``l1``, ``cosine`` or ``kl``.

    Returns:
        A function that maps two tensors (B, L, C) or (B, C, H, W) to a float32 scalar. ``cosine`` and ``kl`` are over
        C in both cases.

    Raises:
        UserError: An unknown name.
    """
    if name not in DISTANCES:
        raise unknown_name('distance', name, DISTANCES)

    return partial(_in_float32, DISTANCES[name])


def _in_float32(distance, features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    # A sum over 10^7 numbers needs more bits than bfloat16 has.
    return distance(_channels_last(features).float(), _channels_last(target).float())


def _channels_last(x):
    return x.movedim(1, -1) if x.dim() == 4 else x
