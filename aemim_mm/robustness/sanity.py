"""Can a robust accuracy be believed? The checks that the field asks for.

Each function returns one record. A check that fails does not say that the model is not robust, but that the number that
was measured may be too high.

Source: Carlini et al., arXiv 1902.06705, sections 4 and 5; Athalye et al., arXiv 1802.00420, section 3.1.
"""

from dataclasses import dataclass, replace

import torch

from ..attacks import Budget, classification_loss
from .attacked_classifier import AttackedModel
from .autoattack import AutoAttack, available
from .pixels import PixelClassifier, left_as_it_was
from .whitebox import PGD


@dataclass(frozen=True)
class Check:
    """The outcome of one check: its name, whether it passed, what was measured, and what that means."""

    name: str
    passed: bool
    value: float
    explanation: str


def check_eps_zero(clean: float, at_zero: float) -> Check:
    """Accuracy under an attack with eps 0 is the clean accuracy; both in percent."""
    return Check(
        'eps 0 equals clean accuracy',
        clean == at_zero,
        at_zero - clean,
        f'Clean accuracy is {clean:.2f} %, under attack with eps 0 {at_zero:.2f} %. A difference means that what is '
        'attacked is not the tested classifier: another normalisation, mode or precision.',
    )


def check_falls(what: str, accuracies: dict, tolerance: float = 1.0) -> Check:
    """Accuracy does not rise as ``what`` (``eps`` or ``steps``) grows.

    Args:
        what: The name of what grows.
        accuracies: Its values, and robust accuracy in percent at each.
        tolerance: A rise of so many points is chance.
    """
    values = [accuracies[key] for key in sorted(accuracies)]
    rise = max((later - min(values[:i]) for i, later in enumerate(values) if i), default=0.0)
    measured = ', '.join(f'{key:g}: {accuracies[key]:.2f}' for key in sorted(accuracies))
    return Check(
        f'accuracy falls with {what}',
        rise <= tolerance,
        rise,
        f'Robust accuracy in percent, by {what}: {measured}. A rise above {tolerance:g} points means that the attack '
        'does not converge: take more steps, a smaller step size or restarts.',
    )


def check_large_eps(accuracy: float, eps: float, floor: float = 0.0) -> Check:
    """A budget that allows any image breaks all images.

    Args:
        accuracy: Robust accuracy in percent at ``eps``.
        eps: The large radius.
        floor: What may be left, in percent.
    """
    return Check(
        'a large eps breaks everything',
        accuracy <= floor,
        accuracy,
        f'Robust accuracy at eps {eps:g}, where any image is allowed, is {accuracy:.2f} %, and should be at most '
        f'{floor:g} %. More means that gradients do not lead the attack: gradient masking.',
    )


def check_zero_gradients(classifier, inputs, labels, tolerance: float = 0.05) -> Check:
    """The gradient of cross-entropy by the image is not exactly zero.

    Args:
        classifier: A classifier of mmpretrain.
        inputs, labels: Images as it sees them (B, C, H, W), and their classes (B,).
        tolerance: Share of images whose gradient may be zero.
    """
    target = PixelClassifier(classifier)
    pixels = target.space.to_pixels(inputs)
    with left_as_it_was(classifier):
        images = pixels.requires_grad_(True)
        value = classification_loss('ce')(target.logits(images), labels.clone())
        gradient = torch.autograd.grad(value, images, allow_unused=True)[0] if value.requires_grad else None
    zero = 1.0 if gradient is None else (gradient.flatten(1) == 0).all(dim=1).float().mean().item()
    return Check(
        'gradients are not zero',
        zero <= tolerance,
        zero,
        f'{zero:.1%} of the images have an input gradient of exactly zero. An attack along the gradient of '
        'cross-entropy cannot move them: use the margin loss or a black-box attack.',
    )


def check_deterministic(classifier, inputs, tolerance: float = 1e-4) -> Check:
    """Two passes over the same images give the same logits.

    Args:
        classifier: A classifier of mmpretrain.
        inputs: Images as it sees them, (B, C, H, W).
        tolerance: Of the difference, relative to the largest logit.
    """
    target = PixelClassifier(classifier)
    pixels = target.space.to_pixels(inputs)
    with left_as_it_was(classifier, seed=0), torch.no_grad():
        first, second = target.logits(pixels), target.logits(pixels)
    difference = ((first - second).abs().max() / first.abs().max().clamp_min(1e-12)).item()
    return Check(
        'the model is deterministic',
        difference <= tolerance,
        difference,
        f'Two passes over the same images differ by {difference:.2g} of the largest logit. A randomised model needs '
        'attacks that average the gradient over its randomness (expectation over transformation): these do not.',
    )


def check_black_box(white_box: float, black_box: float, name: str, tolerance: float = 1.0) -> Check:
    """An attack that sees no gradients is not stronger than one that does.

    Args:
        white_box, black_box: Robust accuracy in percent at the same budget.
        name: Of the black-box attack.
        tolerance: Points by which it may be stronger.
    """
    return Check(
        'no black-box attack beats the white-box one',
        black_box >= white_box - tolerance,
        white_box - black_box,
        f'Robust accuracy is {white_box:.2f} % under the white-box attack, {black_box:.2f} % under {name}. If the '
        'second is lower, gradients mislead the attack (gradient masking), and the white-box number is too high.',
    )


@dataclass(frozen=True)
class RandomNoise:
    """A black-box attack of the simplest kind: several draws of noise, each at the corners of the ball.

    Args:
        eps, norm: See ``aemim_mm.attacks.Budget``.
        draws: How many, >= 1.
    """

    eps: float
    norm: str = 'linf'
    draws: int = 20

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    @property
    def names(self):
        """What the draws are called in reports."""
        return tuple(f'noise-{number}' for number in range(1, self.draws + 1))

    def attempts(self, target):
        """One function for each of ``names``, of images in pixels and labels, to perturbed images."""

        def attack(x, labels):
            ball = self.budget.ball(x)
            return ball.project(x + self.budget.pixels * ball.direction(torch.randn_like(x)))

        return [attack] * self.draws


def black_box_attack(eps: float, norm: str, queries: int = 500):
    """Square where ``pyautoattack`` is installed, else random noise; and its name."""
    if available():
        return AutoAttack(eps, norm, attacks=('square',), queries=queries), f'Square ({queries} queries)'
    return RandomNoise(eps, norm), 'random noise (for the stronger Square, install pyautoattack)'


def accuracy_under(classifier, attack, batches, seed: int = 0) -> float:
    """Robust accuracy in percent; ``batches`` are pairs of images as the classifier sees them, and classes."""
    model = AttackedModel(classifier, attack, seed=seed)
    broken = torch.cat([model.perturb(inputs, labels).success.cpu() for inputs, labels in batches])
    return 100 * (~broken).double().mean().item()


def clean_accuracy(classifier, batches) -> float:
    """Accuracy in percent of the classifier itself, which sees ``batches`` as they are."""
    with left_as_it_was(classifier), torch.no_grad():
        right = [(classifier(inputs, mode='tensor').argmax(dim=1) == labels).cpu() for inputs, labels in batches]
    return 100 * torch.cat(right).double().mean().item()


def run_sanity_checks(classifier, attack: PGD, batches, *, queries: int = 500) -> list[Check]:
    """All checks of a classifier, around one attack; give it a few hundred images.

    They cost about five times the attack, and the queries of the black-box one.

    Args:
        classifier: A classifier of mmpretrain.
        attack: The white-box attack whose results are to be believed; its ``eps`` is above 0.
        batches: Pairs of images as the classifier sees them (B, C, H, W), and classes (B,).
        queries: Of the black-box attack.

    Returns:
        Seven records, in a fixed order.
    """
    batches = list(batches)

    def accuracy(attack):
        return accuracy_under(classifier, attack, batches)

    def with_eps(eps):
        scale = eps / attack.eps
        return replace(attack, eps=eps, step_size=attack.step_size and attack.step_size * scale)

    everything = 255.0 if attack.norm == 'linf' else batches[0][0][0].numel() ** 0.5
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
