"""How far the features of a pre-training model move: under noise, under its own attack, and between its domains."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import nn

from ..adapters import AddedAdapter, adapted_layers
from ..domain import Domain, use_domain
from ..replay import Pass, replaced
from .modes import buffers_kept, evaluating


@dataclass(frozen=True)
class FeatureMovement:
    """How far the encoder's features of each image move, as a share of the spread of clean features, (B,).

    The unit is the root mean square distance of the tokens of all images from their mean. A part that all features have
    in common, which is large early in training, does not count.

    Attributes:
        noise: From the image to the image with uniform noise from the ball of the attack, in the adversarial domain.
        attack: From the image to its adversarial example, in the adversarial domain.
        gap: From the clean domain to the adversarial one; the image stays as it is.
    """

    noise: torch.Tensor
    attack: torch.Tensor
    gap: torch.Tensor


@torch.no_grad()
def feature_movement(
    model: Any, inputs: Any, data_samples: list | None = None, *, eps: float | None = None
) -> FeatureMovement:
    """Measure how far noise and the model's own attack move the features that the adversarial pass sees.

    The attack is the training's: its objective, target, mask, steps and budget. ``noise`` and ``attack`` compare
    features of one domain, so that they do not depend on how far the domains are apart. All passes see the same mask.
    The model is in eval mode, and does not change; the random numbers move on.

    Args:
        model: An ``AdversarialMIM``.
        inputs: Normalised images, (B, C, H, W), or a list of views of them. At least two images, for the spread.
        data_samples: One for each image, if the algorithm reads them.
        eps: Another radius of the ball, in the unit of the data preprocessor, with steps in proportion. Default: the
            data preprocessor's.

    Raises:
        UserError: ``eps`` is out of its range.
    """
    with evaluating(model), buffers_kept(model), _radius(model.data_preprocessor, eps):
        step = model.two_passes(inputs, data_samples)
        images = step.clean.images
        with use_domain(model, Domain.ADV):
            noise = _noise(model.data_preprocessor, images)
            still, by_noise = (_final_features(model, step.clean, each) for each in (images, noise))
    clean, by_attack = (model.features(one.call.output) for one in (step.clean, step.adv))
    return FeatureMovement(*(_moved(*pair) for pair in ((by_noise, still), (by_attack, still), (still, clean))))


def _moved(features: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The root mean square change of each image's features, as a share of the spread of all, (B,)."""
    change = (features - start).float().flatten(1).square().mean(1).sqrt()
    tokens = (start.movedim(1, -1) if start.dim() == 4 else start).float().flatten(0, -2)
    return change / (tokens - tokens.mean(0)).square().mean().sqrt().clamp_min(1e-12)


@contextmanager
def _radius(preprocessor: Any, eps: float | None) -> Iterator[None]:
    """Inside, the attack has another radius, and steps in proportion."""
    with ExitStack() as stack:
        if eps is not None:
            share = preprocessor.step_size / preprocessor.eps if preprocessor.eps else 1 / max(preprocessor.steps, 1)
            stack.enter_context(replaced(preprocessor, 'eps', eps))
            stack.enter_context(replaced(preprocessor, 'step_size', share * eps))
        yield


def _noise(preprocessor: Any, images: torch.Tensor) -> torch.Tensor:
    with replaced(preprocessor, 'steps', 0), replaced(preprocessor, 'start', 'uniform'):
        return preprocessor.perturb(images, lambda images: None)


def _final_features(model: Any, clean: Pass, images: torch.Tensor) -> torch.Tensor:
    """Compute the output of the whole encoder under the mask of a pass, whatever layer the attack sees."""
    with replaced(clean, 'layer', model.backbone), clean.randomness.replayed():
        return model.features(clean.encode(images))


@torch.no_grad()
def adapter_drift(module: nn.Module) -> dict[str, float]:
    """Measure how far the adversarial weights of a model's adapters are from the clean ones.

    Args:
        module: Any model.

    Returns:
        ``split``: the L2 distance between second weights and their clean partners, as a share of the length of the
        clean ones; ``added``: the root mean square of those weights of added adapters that start at zero. A kind that
        the model lacks is left out.
    """
    found, pairs = {}, []
    for layer in adapted_layers(module).values():
        names = [name for name in layer.split_names if name in layer._parameters]
        pairs += [(layer.get_parameter(f'{name}_adv').float(), layer.get_parameter(name).float()) for name in names]
    if pairs:
        change = sum((adv - clean).square().sum().item() for adv, clean in pairs)
        length = sum(clean.square().sum().item() for _, clean in pairs)
        found['split'] = sqrt(change / max(length, 1e-24))
    added = [part for part in module.modules() if isinstance(part, AddedAdapter) and part.domain is Domain.ADV]
    zeros = [adapter.own(name).float() for adapter in added for name in adapter.zeros]
    if zeros:
        found['added'] = sqrt(sum(each.square().sum().item() for each in zeros) / sum(each.numel() for each in zeros))
    return found
