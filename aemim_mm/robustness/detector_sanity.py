"""Sanity checks of the AP of a detector under attack, as those of classifiers; see ``check_records``."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from ..attacks import gradients_of
from .attacked_detector import AttackedDetector, ImageUnderAttack, losses_of_training
from .check_records import (
    Check,
    check_black_box,
    check_eps_zero,
    check_falls,
    check_large_eps,
    check_repeated,
    check_share_of_zero_gradients,
)
from .conditions import Condition
from .pixels import left_as_it_was
from .run import Evaluation

CHECKED = 50  # Images for the checks that compare APs.
CHECKED_LOSSES = 8  # Images for the checks of losses and gradients.
DRAWS = 4  # Samples of anchors and proposals for the expected loss.
# AP, in percent, of few images differs by more than accuracy does.
TOLERANCE, FLOOR = 3.0, 3.0


def run_detector_checks(evaluation: Evaluation, clean: Condition, attacked: Condition) -> list[Check]:
    """Run all checks of an attack on a detector, on a sample of the images.

    They cost about five times the attack. Finished parts are read from ``checks`` in the folder of the evaluation.

    Args:
        evaluation: The detector.
        clean: The images without an attack.
        attacked: The attack to check, with ``eps`` > 0.

    Returns:
        Eight records, in a fixed order.
    """
    limit = min(evaluation.limit or CHECKED, CHECKED)
    small = Evaluation(evaluation.runner, evaluation.loader, evaluation.out / 'checks', evaluation.identity, limit)

    def ap(name: str, condition: Condition = attacked, **attack) -> float:
        metric = dict(condition.metric, part=True)
        condition = replace(condition, name=name, metric=metric, attack={**condition.attack, **attack})
        return 100 * small.run(condition).figures()[attacked.shown[0]].estimate

    eps, steps = attacked.attack['eps'], attacked.attack['steps']
    base, at_zero = ap('base'), ap('eps-0', eps=0.0)
    by_eps = {0.0: at_zero, eps / 2: ap('half-eps', eps=eps / 2), eps: base, 2 * eps: ap('double-eps', eps=2 * eps)}
    half = max(steps // 2, 1)
    by_steps = {1: ap('one-step', steps=1), half: ap('half-steps', steps=half), steps: base}
    noise = ap('noise', steps=0, start='uniform')
    named = dict(figure='AP')
    return [
        check_eps_zero(ap('clean', clean), at_zero, **named),
        check_falls('eps', by_eps, TOLERANCE, **named),
        check_falls('steps', by_steps, TOLERANCE, **named),
        check_large_eps(ap('large-eps', eps=255.0), 255.0, FLOOR, **named),
        check_black_box(base, noise, 'uniform noise', TOLERANCE, **named),
        *loss_checks(small.model, small.batches(attacked, limit), attacked.attack),
    ]


def loss_checks(detector: Any, batches: Iterable, attack: dict) -> list[Check]:
    """Check gradients, determinism, and that the attack raises the losses more than noise does.

    Args:
        detector: A detector of mmdet.
        batches: Batches of a data loader, of which the first few images are used.
        attack: Config of the attack, as of ``AttackedDetector``.

    Returns:
        Three records.
    """
    attacked, noise = AttackedDetector(detector, attack), AttackedDetector(detector, dict(attack, steps=0))
    zero, difference, losses = [], 0.0, []
    for inputs, sample in islice(_images(detector, batches), CHECKED_LOSSES):
        difference = max(difference, _difference(detector, inputs))
        x_adv, x_noise = attacked.perturb(inputs, [sample]), noise.perturb(inputs, [sample])
        with losses_of_training(detector, 0):
            image = ImageUnderAttack(detector, inputs, sample, attacked.attack)
            pixels = image.pixels.clone().requires_grad_(True)
            (gradient,) = gradients_of(image.objective(pixels), pixels)
            zero.append(float(not gradient.isfinite().all() or not gradient.any()))
            losses.append([expected_loss(image, images) for images in (x_adv, x_noise)])
    under_attack, under_noise = (sum(column) / len(losses) for column in zip(*losses))
    advice = 'Those that are not finite count, too. Look for operations without a gradient, and test in float32.'
    return [
        check_share_of_zero_gradients(sum(zero) / len(zero), advice),
        check_repeated(difference),
        Check(
            'the attack raises the losses more than noise',
            under_attack > under_noise,
            under_attack - under_noise,
            f'The expected losses are {under_attack:.4g} under attack and {under_noise:.4g} under uniform noise of the '
            'same size. If the first is not larger, gradients do not lead the attack.',
        ),
    ]


def expected_loss(image: ImageUnderAttack, inputs: torch.Tensor) -> float:
    """Average the losses of an image over samples of anchors and proposals, from a fixed seed.

    Args:
        image: The clean image.
        inputs: The perturbed image as the detector sees it, normalised and padded, (1, C, H, W).
    """
    torch.manual_seed(0)
    pixels = image.unpadded(inputs)
    with torch.no_grad():
        return sum(image.objective(pixels).item() for _ in range(DRAWS)) / DRAWS


def _images(detector, batches):
    """Yield the images of batches with their data samples, one by one."""
    for batch in batches:
        data = detector.data_preprocessor(batch, False)
        for number, sample in enumerate(data['data_samples']):
            yield data['inputs'][number : number + 1], sample


def _difference(detector, inputs) -> float:
    """Compare the features of two passes over an image; the difference is relative to the largest value."""
    with left_as_it_was(detector, seed=0), torch.no_grad():
        passes = [torch.cat([level.flatten() for level in detector.extract_feat(inputs)]) for _ in range(2)]
    return ((passes[0] - passes[1]).abs().max() / passes[0].abs().max().clamp_min(1e-12)).item()
