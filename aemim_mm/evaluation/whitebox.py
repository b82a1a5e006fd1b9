"""White-box attacks on a classifier, on its encoder alone, and on a pre-training model."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..attacks import STARTS, Budget, classification_loss, feature_distance, fgsm, pgd
from ..attacks.budget import PIXELS
from ..errors import UserError, one_of
from ..models.algorithms import AdversarialMIM
from ..replay import RecordedRandomness, substituted_argument
from .pixels import PixelSpace, last_tensor, left_as_it_was


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
            raise one_of('start', self.start, STARTS)
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


@dataclass
class EncoderAttackResult:
    """Perturbed images in pixels, (B, C, H, W), and the objective per image before and after the attack."""

    x_adv: torch.Tensor
    before: float
    after: float


def reconstruction_attack(model, inputs, data_samples, attack: PGD, *, adv_target='clean', seed=0):
    """Make the reconstruction loss of a pre-training model larger, with the mask and other randomness held fixed.

    Args:
        model: A MIM algorithm of mmpretrain; of an AEMIM one, the clean domain and its algorithm's own loss.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One for each image; they hold the mask, if the pipeline makes it.
        attack: Its budget, steps and start. ``loss`` and ``restarts`` have no meaning here.
        adv_target: What is to be reconstructed: the ``clean`` image, so that the attack acts through the encoder only,
            or ``adv``, the perturbed one, as in training.
        seed: Of the mask and the start.

    Raises:
        UserError: An unknown ``adv_target``.
    """
    if adv_target not in ('clean', 'adv'):
        raise one_of('adv_target', adv_target, ('clean', 'adv'))
    space = PixelSpace(model.data_preprocessor)
    algorithm_loss = super(AdversarialMIM, model).loss if isinstance(model, AdversarialMIM) else model.loss
    with left_as_it_was(model, seed=seed):
        x = space.to_pixels(inputs)
        clean = space.to_inputs(x)
        randomness = RecordedRandomness()

        def objective(images):
            perturbed = space.to_inputs(images)
            target = clean if adv_target == 'clean' else perturbed
            with randomness.replayed(), substituted_argument(model.head, 'loss', perturbed, target):
                losses = algorithm_loss(perturbed, data_samples)
            # The mean over the batch, so its sum has the scale of one image's loss times B.
            return len(images) * sum(value for name, value in losses.items() if 'loss' in name)

        torch.manual_seed(seed + 1)  # The mask was drawn from `seed`.
        x_adv = attack.budget.ball(x).project(attack.maximize(objective, x))
        with torch.no_grad():
            before, after = (objective(images).item() / len(images) for images in (x, x_adv))
    return EncoderAttackResult(x_adv, before, after)


def feature_attack(model, inputs, attack: FeatureAttack, *, features=None, seed=0):
    """Move the features of any encoder of mmpretrain, pre-trained or fine-tuned, away from the clean images'.

    Args:
        model: It has a ``data_preprocessor`` and ``extract_feat``.
        inputs: Normalised images, (B, C, H, W).
        attack: Its budget, steps, start and distance.
        features: Maps normalised images to features (B, ..., C) or a map (B, C, H, W). Default: the last output of
            ``model.extract_feat``.
        seed: Of the start, and of a model that draws masks or the like.
    """
    space = PixelSpace(model.data_preprocessor)
    distance = feature_distance(attack.loss)
    with left_as_it_was(model, seed=seed):
        x = space.to_pixels(inputs)
        randomness = RecordedRandomness()

        def encode(images):
            with randomness.replayed():
                return (features or (lambda images: last_tensor(model.extract_feat(images))))(space.to_inputs(images))

        with torch.no_grad():
            clean = encode(x)
        torch.manual_seed(seed + 1)  # A mask was drawn from `seed`.
        x_adv = attack.budget.ball(x).project(attack.maximize(lambda images: distance(encode(images), clean), x))
        with torch.no_grad():
            before, after = (distance(encode(images), clean).item() / len(images) for images in (x, x_adv))
    return EncoderAttackResult(x_adv, before, after)
