"""Sanity checks of the robust accuracy of a classifier, as the field recommends them; see ``check_records``."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..attacks import Budget, classification_loss, gradients_of
from .attacked_classifier import AttackedModel
from .autoattack import AutoAttack, available
from .check_records import (
    Check,
    check_black_box,
    check_eps_zero,
    check_falls,
    check_large_eps,
    check_repeated,
    check_share_of_zero_gradients,
)
from .pixels import PixelClassifier, left_as_it_was
from .whitebox import WhiteBox

# Pairs of normalised images (B, C, H, W) and classes (B,).
Labelled = Iterable[tuple[torch.Tensor, torch.Tensor]]


def check_zero_gradients(
    classifier: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, tolerance: float = 0.05
) -> Check:
    """Check that the gradient of cross-entropy with respect to the image is not exactly zero.

    Args:
        classifier: A classifier of mmpretrain.
        inputs, labels: Normalised images (B, C, H, W), and their classes (B,).
        tolerance: The largest share of images with a zero gradient that passes.
    """
    in_pixels = PixelClassifier(classifier)
    pixels = in_pixels.to_pixels(inputs)
    with left_as_it_was(classifier):
        images = pixels.requires_grad_(True)
        value = classification_loss('ce')(in_pixels.logits(images), labels.clone())
        gradient = gradients_of(value, images, allow_unused=True)[0] if value.requires_grad else None
    zero = 1.0 if gradient is None else (gradient.flatten(1) == 0).all(dim=1).float().mean().item()
    advice = (
        'An attack along the gradient of cross-entropy cannot move them: use the margin loss or a black-box attack.'
    )
    return check_share_of_zero_gradients(zero, advice, tolerance)


def check_deterministic(classifier: nn.Module, inputs: torch.Tensor, tolerance: float = 1e-4) -> Check:
    """Check that two passes over the same images give the same logits.

    Args:
        classifier: A classifier of mmpretrain.
        inputs: Normalised images, (B, C, H, W).
        tolerance: The largest difference that passes, relative to the largest logit.
    """
    in_pixels = PixelClassifier(classifier)
    pixels = in_pixels.to_pixels(inputs)
    with left_as_it_was(classifier, seed=0), torch.no_grad():
        first, second = in_pixels.logits(pixels), in_pixels.logits(pixels)
    difference = ((first - second).abs().max() / first.abs().max().clamp_min(1e-12)).item()
    return check_repeated(difference, tolerance)


@dataclass(frozen=True)
class RandomNoise:
    """The simplest black-box attack: several draws of noise as large as the budget allows.

    Args:
        eps, norm: Budget, as in ``aemim_mm.attacks.Budget``.
        draws: Number of draws, >= 1.
    """

    eps: float
    norm: str = 'linf'
    draws: int = 20

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attempts in reports."""
        return tuple(f'noise-{number}' for number in range(1, self.draws + 1))

    def attempts(self, classifier: PixelClassifier) -> list:
        """Return one function for each of ``names``, which maps images in pixels and labels to perturbed images."""

        def attack(x, labels):
            ball = self.budget.ball(x)
            return ball.project(x + self.budget.pixels * ball.direction(torch.randn_like(x)))

        return [attack] * self.draws


def black_box_attack(eps: float, norm: str, queries: int = 500) -> tuple[AutoAttack | RandomNoise, str]:
    """Return Square if ``pyautoattack`` is installed, else random noise; and the name of the attack."""
    if available():
        return AutoAttack(eps, norm, attacks=('square',), queries=queries), f'Square ({queries} queries)'
    return RandomNoise(eps, norm), 'random noise (for the stronger Square, install pyautoattack)'


def accuracy_under(classifier: nn.Module, attack: Any, batches: Labelled, seed: int = 0) -> float:
    """Measure robust accuracy in percent; ``batches`` are pairs of normalised images and classes."""
    model = AttackedModel(classifier, attack, seed=seed)
    broken = torch.cat([model.perturb(inputs, labels).success.cpu() for inputs, labels in batches])
    return 100 * (~broken).double().mean().item()


def clean_accuracy(classifier: nn.Module, batches: Labelled) -> float:
    """Measure the classifier's accuracy in percent without an attack; ``batches`` as in :func:`accuracy_under`."""
    with left_as_it_was(classifier), torch.no_grad():
        right = [(classifier(inputs, mode='tensor').argmax(dim=1) == labels).cpu() for inputs, labels in batches]
    return 100 * torch.cat(right).double().mean().item()


def run_sanity_checks(classifier: nn.Module, attack: WhiteBox, batches: Labelled, *, queries: int = 500) -> list[Check]:
    """Run all checks of a white-box attack on a classifier.

    They cost about five times the attack, plus the queries of the black-box attack. A few hundred images suffice.

    Args:
        classifier: A classifier of mmpretrain.
        attack: The attack to check, with ``eps`` > 0.
        batches: Pairs of normalised images (B, C, H, W) and classes (B,).
        queries: Number of queries of the black-box attack.

    Returns:
        Seven records, in a fixed order.
    """
    batches = list(batches)

    def accuracy(attack):
        return accuracy_under(classifier, attack, batches)

    # The largest distance between two images.
    everything = 255.0 if attack.norm == 'linf' else batches[0][0][0].numel() ** 0.5

    def with_eps(eps):
        step_size = attack.step_size and min(attack.step_size * eps / attack.eps, everything)
        return replace(attack, eps=eps, step_size=step_size)

    base = accuracy(attack)
    by_eps = {eps: accuracy(with_eps(eps)) for eps in (attack.eps / 2, attack.eps * 2) if _allowed(eps, attack.norm)}
    by_eps = {0.0: accuracy(with_eps(0.0)), **by_eps, float(attack.eps): base}
    by_steps = {steps: accuracy(replace(attack, steps=steps)) for steps in {1, max(attack.steps // 2, 1)}}
    by_steps[attack.steps] = base
    black_box, name = black_box_attack(attack.eps, attack.norm, queries)
    inputs, labels = batches[0]
    return [
        check_eps_zero(clean_accuracy(classifier, batches), by_eps[0.0]),
        check_falls('eps', by_eps),
        check_falls('steps', by_steps),
        check_large_eps(accuracy(with_eps(everything)), everything),
        check_zero_gradients(classifier, inputs, labels),
        check_deterministic(classifier, inputs),
        check_black_box(base, accuracy(black_box), name),
    ]


def _allowed(eps, norm) -> bool:
    return norm == 'l2' or 0.5 <= eps <= 255
