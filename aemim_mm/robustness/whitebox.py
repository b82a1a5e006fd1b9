"""White-box attacks on a classifier, by its labels or by the features of its encoder alone."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..attacks import STARTS, Budget, classification_loss, feature_distance, fgsm, pgd
from ..attacks.budget import PIXELS
from ..errors import UserError, unknown_name


@dataclass(frozen=True)
class FGSM:
    """Fast gradient sign method: one step of size ``eps`` from the clean image.

    Args:
        eps, norm: See ``aemim_mm.attacks.Budget``: pixels, 0-255, in ``linf``; units of images from 0 to 1 in ``l2``.
        loss: ``ce`` (cross-entropy) or ``margin``.

    Source: Goodfellow et al., arXiv 1412.6572, section 4.
    """

    eps: float
    norm: str = 'linf'
    loss: str = 'ce'
    names: ClassVar = ('fgsm',)

    def __post_init__(self):
        Budget(self.eps, self.norm)
        classification_loss(self.loss)

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    def attempts(self, target):
        """One function for each of ``names``, of images in pixels and labels, to perturbed images.

        Args:
            target: A ``PixelClassifier``.
        """
        loss = classification_loss(self.loss)

        def attack(x, labels):
            def objective(images):
                return loss(target.logits(images), labels)

            return fgsm(objective, x, eps=self.budget.pixels, norm=self.norm, lower=PIXELS[0], upper=PIXELS[1])

        return [attack]


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent, with restarts on the images that are still classified correctly.

    Args:
        eps, norm: See ``aemim_mm.attacks.Budget``: pixels, 0-255, in ``linf``; units of images from 0 to 1 in ``l2``.
        steps: Number of gradient steps, >= 0.
        step_size: In the units of ``eps``. Default: 2.5 * eps / steps.
        loss: ``ce`` (cross-entropy) or ``margin``.
        start: ``uniform``, ``gaussian`` or ``zero``.
        restarts: Number of tries, >= 1. From ``zero``, all would be the same.
        momentum: 0 is plain PGD; 1 is MI-FGSM.

    Raises:
        UserError: A value out of its range, or an unknown name.

    Source: Madry et al., arXiv 1706.06083, eq. 2.
    """

    eps: float
    norm: str = 'linf'
    steps: int = 20
    step_size: float | None = None
    loss: str = 'ce'
    start: str = 'uniform'
    restarts: int = 1
    momentum: float = 0.0

    def __post_init__(self):
        Budget(self.eps, self.norm)
        self._check_loss()
        if self.start not in STARTS:
            raise unknown_name('start', self.start, STARTS)
        for name, least in (('steps', 0), ('restarts', 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise UserError(f'{name} is a whole number >= {least}, but got {value!r}.')
        if self.restarts > 1 and self.start == 'zero':
            raise UserError("restarts above 1 need a random start: set start='uniform', or restarts=1.")
        if self.step_size is not None and not self.step_size >= 0:
            raise UserError(f'step_size is >= 0, in the units of eps, but got {self.step_size!r}.')
        if not self.momentum >= 0:
            raise UserError(f'momentum is >= 0, but got {self.momentum!r}.')

    def _check_loss(self):
        classification_loss(self.loss)

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    @property
    def names(self):
        """What the restarts are called in reports."""
        return tuple(f'pgd-{number}' for number in range(1, self.restarts + 1))

    def attempts(self, target):
        """One function for each of ``names``, of images in pixels and labels, to perturbed images.

        Args:
            target: A ``PixelClassifier``.
        """

        def attack(x, labels):
            return self.maximize(self.objective(target, x, labels), x)

        return [attack] * self.restarts

    def objective(self, target, x, labels):
        """What one run makes larger: a function of images in pixels."""
        loss = classification_loss(self.loss)
        return lambda images: loss(target.logits(images), labels)

    def maximize(self, objective, x):
        """One run of the attack on images in pixels, 0-255."""
        budget = self.budget
        step_size = 2.5 * self.eps / max(self.steps, 1) if self.step_size is None else self.step_size
        return pgd(
            objective,
            x,
            eps=budget.pixels,
            step_size=budget.to_pixels(step_size),
            steps=self.steps,
            lower=PIXELS[0],
            upper=PIXELS[1],
            start=self.start,
            norm=self.norm,
            momentum=self.momentum,
        )


@dataclass(frozen=True)
class FeatureAttack(PGD):
    """PGD on the encoder alone: away from the clean image's features, with no use of the head or the labels.

    Args:
        loss: The distance: ``l2`` (squared), ``l1``, ``cosine`` or ``kl``.
        **others: Of :class:`PGD`.
    """

    loss: str = 'l2'

    def __post_init__(self):
        super().__post_init__()
        if self.start == 'zero':
            raise UserError("A feature distance has no gradient at zero: set start='uniform'.")

    def _check_loss(self):
        feature_distance(self.loss)

    @property
    def names(self):
        """What the restarts are called in reports."""
        return tuple(f'feature-{number}' for number in range(1, self.restarts + 1))

    def objective(self, target, x, labels):
        """The distance between features of the clean and the perturbed images."""
        distance = feature_distance(self.loss)
        with torch.no_grad():
            clean = target.features(x)
        return lambda images: distance(target.features(images), clean)
