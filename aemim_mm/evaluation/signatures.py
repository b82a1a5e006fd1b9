"""Signatures of a failing pre-training: limits of what ``InstrumentsHook`` measures, and a warning for each.

The limits separate healthy trainings of the demo from trainings that were made to fail: see docs/method.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..attacks.pixels import is_number
from ..errors import UserError, unknown_name


@dataclass(frozen=True)
class Signature:
    """A figure on the wrong side of its limit.

    Attributes:
        figure: The name of the figure.
        limit: The limit, or None: there is no warning.
        below: Whether figures below the limit are wrong; else those above it are.
        warning: What was seen, with the placeholder ``{seen}`` for the figure, what it means, and what to change.
        unless: Another signature, which causes this one.
    """

    figure: str
    limit: float | None
    below: bool
    warning: str
    unless: str = ''

    def shows(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure is there and on the wrong side. NaN is on the wrong side."""
        if self.limit is None or self.figure not in figures:
            return False
        seen = figures[self.figure]
        return not seen >= self.limit if self.below else not seen <= self.limit

    def said(self, figures: Mapping[str, float]) -> str:
        """Return the warning, with the figure in it."""
        return self.warning.format(seen=f'{figures[self.figure]:.3g}')


SIGNATURES = {
    'dominance': Signature(
        'loss_ratio',
        10,
        False,
        'The weighted adversarial loss is {seen} times the clean loss: the adversarial task dominates, and clean '
        'images hardly count. Lower model.adv_weight.',
    ),
    'easy_attack': Signature(
        'loss_ratio_unweighted',
        0.8,
        True,
        'Without its weight, the adversarial loss is only {seen} times the clean loss: the model has come to '
        'reconstruct adversarial images better than clean ones. Lower model.adv_weight.',
    ),
    'stale': Signature(
        'attack_over_noise',
        1.5,
        True,
        'The attack moves features only {seen} times as far as noise of the same size: it has gone stale, and '
        'adversarial training is no more than noise augmentation. Raise data_preprocessor.steps or step_size; if '
        'attack_zero_grad is above the mask ratio, gradients underflow: set model.attack_precision=float32.',
    ),
    'small_budget': Signature(
        'moved_attack',
        0.019,
        True,
        'The attack moves features by only {seen} of their spread: for the encoder, adversarial images are nearly '
        'clean ones. Raise data_preprocessor.eps.',
        unless='stale',
    ),
    'large_budget': Signature(
        'moved_attack',
        1.0,
        False,
        'The attack moves features by {seen} times their spread: for the encoder, adversarial images are other images. '
        'Lower data_preprocessor.eps.',
    ),
    'parted_domains': Signature(
        'domain_gap',
        1.0,
        False,
        'The two sets of adapters are {seen} times the spread of features apart on the same images: they make two '
        'encoders, which share little. Lower model.adv_weight, or choose fewer adapters.',
    ),
    'drifted_adapters': Signature(
        'adapter_drift',
        1.0,
        False,
        'The adversarial adapters have moved away from the clean ones by {seen} times the length of these. Lower '
        'model.adv_weight, or give the adapters weight decay.',
    ),
    'collapse': Signature(
        'rank',
        0.03,
        True,
        'The effective rank of the features is only {seen} of the possible: they collapse to a few directions. Lower '
        'the learning rate, model.adv_weight or data_preprocessor.eps.',
    ),
    'forgetting': Signature(
        'knn_drop',
        15,
        False,
        'The k-NN accuracy has fallen by {seen} points from its best: the encoder gets worse. Lower the learning rate '
        'or model.adv_weight, or go back to an earlier checkpoint.',
    ),
}


def signatures_with(thresholds: Mapping[str, float | None]) -> dict[str, Signature]:
    """Return all signatures, some with other limits.

    Args:
        thresholds: Name of a signature to its limit, or to None for no warning.

    Raises:
        UserError: A name is unknown, or a limit is no number.
    """
    for name, limit in thresholds.items():
        if name not in SIGNATURES:
            raise unknown_name('threshold', name, SIGNATURES)
        if limit is not None and not is_number(limit):
            raise UserError(f'thresholds.{name} is a number, or None for no warning, but got {limit!r}.')
    return {name: replace(one, limit=thresholds.get(name, one.limit)) for name, one in SIGNATURES.items()}


def shown_by(figures: Mapping[str, float], signatures: Mapping[str, Signature]) -> list[str]:
    """Return the names of the signatures that figures show, without those that another one causes.

    Args:
        figures: Name of a figure to its value.
        signatures: Those to look for.
    """
    shown = [name for name, one in signatures.items() if one.shows(figures)]
    return [name for name in shown if signatures[name].unless not in shown]
