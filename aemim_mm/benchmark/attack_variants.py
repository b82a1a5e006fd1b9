"""Strength and cost of cheaper attacks: how far they move the encoder's final features, and what they add to a step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from statistics import mean, median
from typing import Any

import torch

from ..domain import Domain, use_domain
from ..errors import UserError
from ..models.algorithms.construction import name_of_layer
from ..replay import Pass
from .candidates import Candidate
from .counting import Flops

COLUMNS = {
    'attack': '{name}',
    'attack, FLOPs': '{attack_flops:.2f}',
    'attack, time': '{attack_time:.2f}',
    'step, FLOPs': '{step_flops:.2f}',
    'distance': '{distance:.2f}',
    'over noise': '{over_noise:.1f}',
}


@dataclass
class Variant:
    """One way to attack.

    Attributes:
        steps: Number of gradient steps. A single step is 1.25 * eps long; of more, each is eps / steps long.
        layers: Number of the encoder's first layers that the attack runs. None: all, and the final norm.
        perturb: Takes the place of the attack. Maps the data preprocessor's ``perturb`` and images to perturbed images.
        seed: Added to the seed of the step: another one gives other masks.
    """

    steps: int
    layers: int | None = None
    perturb: Callable[[Callable, torch.Tensor], torch.Tensor] | None = None
    seed: int = 0

    @contextmanager
    def applied(self, model: Any) -> Iterator[None]:
        """Inside, ``model`` attacks in this way."""
        preprocessor, perturb = model.data_preprocessor, self.perturb
        before, original = (model.attack_layer, preprocessor.steps, preprocessor.step_size), preprocessor.perturb
        model.attack_layer, preprocessor.steps = name_of_layer(model.backbone, self.layers), self.steps
        preprocessor.step_size = preprocessor.eps * (1.25 if self.steps == 1 else 1 / self.steps)
        if perturb is not None:
            preprocessor.perturb = lambda images, *_, **__: perturb(original, images)
        try:
            yield
        finally:
            model.attack_layer, preprocessor.steps, preprocessor.step_size = before
            vars(preprocessor).pop('perturb', None)


def noise(perturb: Callable, images: torch.Tensor) -> torch.Tensor:
    """Perturb images as an attack does, but along random directions in the place of gradients."""
    directions = torch.randn_like(images)
    return perturb(images, lambda x: (x * directions).sum())


def compare_attacks(candidate: Candidate, layers: list[int], *, repetitions: int) -> dict[str, dict]:
    """Measure attacks of one and two steps on the whole encoder and on its first layers.

    Args:
        candidate: A model that is an ``AdversarialMIM``, with its data.
        layers: Numbers of layers.
        repetitions: Number of batches.

    Returns:
        Name of an attack to the figures of ``COLUMNS``. FLOPs, time and distance are ratios to two steps on the whole
        encoder; the time is the median over batches. The distance is that of the encoder's final features of attacked
        and of clean images, both in the ADV domain: it leaves out how far the domains are apart.

    Raises:
        UserError: Another model, or it has fewer layers.
    """
    model: Any = candidate.model
    if not hasattr(model, 'two_passes'):
        raise UserError(f'{type(model).__name__} makes no adversarial examples. Choose a config of AEMIM or AESimMIM.')
    kept = {}

    def reused(_perturb, images):
        return kept.get('x_adv', images)

    base = 'all layers, 2 steps'
    chosen = {base: Variant(2), 'random directions': Variant(2, perturb=noise), 'all layers, 1 step': Variant(1)}
    chosen['all layers, reused under another mask'] = Variant(2, perturb=reused, seed=1)
    for number, steps in product(layers, (2, 1)):
        chosen[f'layer {number}, {steps} step{"s"[: steps - 1]}'] = Variant(steps, number)
    found: dict[str, dict] = {name: dict(flops=0, seconds=[], distances=[]) for name in chosen}
    for repetition in range(repetitions):
        data = model.data_preprocessor(next(candidate.batches), training=True)
        for name, variant in chosen.items():
            with variant.applied(model):
                torch.manual_seed(2 * repetition + variant.seed)
                with candidate.clock.step(model):
                    passes = model.two_passes(**data)
                found[name]['distances'].append(_distance(model, passes.adv, data['inputs']))
                found[name]['seconds'].append(candidate.clock.seconds['attack'])
                if name == base:
                    kept['x_adv'] = passes.attack.x_adv
                if repetition == 0:
                    found[name]['flops'] = _flops(model, data)
    return _figures(found, base)


@torch.no_grad()
def _distance(model, adv: Pass, images) -> float:
    with use_domain(model, Domain.ADV):
        same_mask = adv.again(images)
    return model.distance(*(model.features(one.call.output) for one in (adv, same_mask))).item()


def _flops(model, data) -> int:
    with Flops() as flops:
        model.parse_losses(model.loss(**data))[0].backward()
    model.zero_grad()
    return flops.total


def _figures(found, base):
    """Ratios; what a step costs without the attack is the step with noise."""
    without, whole = found['random directions'], found[base]
    distance = {name: mean(row['distances']) for name, row in found.items()}
    return {
        name: dict(
            attack_flops=(row['flops'] - without['flops']) / (whole['flops'] - without['flops']),
            attack_time=median(mine / other for mine, other in zip(row['seconds'], whole['seconds'])),
            step_flops=row['flops'] / whole['flops'],
            distance=distance[name] / distance[base],
            over_noise=distance[name] / distance['random directions'],
        )
        for name, row in found.items()
    }
