"""White-box attacks on a classifier, through its logits or through the features of its encoder."""

from dataclasses import dataclass
from functools import partial

import torch

from ..attacks import PGD, check_whole, classification_loss, feature_distance
from ..errors import UserError, unknown_name
from .pixels import PixelClassifier


@dataclass(frozen=True)
class WhiteBox(PGD):
    """PGD on a classifier, with restarts on the images that are still classified correctly.

    Args:
        eps, norm, steps, step_size, start, momentum: As in :class:`aemim_mm.attacks.PGD`.
        objective: ``labels``: maximise the loss of the true class. ``features``: maximise the distance from the clean
            image's features, without labels and without the head.
        loss: For ``labels``: ``ce`` (cross-entropy) or ``margin``. For ``features``: the distance ``l2`` (squared),
            ``l1``, ``cosine`` or ``kl``.
        restarts: Number of attempts, >= 1. Attempts from ``zero`` would all be equal.

    Raises:
        UserError: A value out of its range, or an unknown name.
    """

    objective: str = 'labels'
    loss: str = 'ce'
    restarts: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise unknown_name('objective', self.objective, OBJECTIVES)
        # An unknown loss raises the UserError.
        feature_distance(self.loss) if self.objective == 'features' else classification_loss(self.loss)
        check_whole('restarts', self.restarts, 1)
        if self.start == 'zero' and self.objective == 'features':
            raise UserError("A feature distance has no gradient at zero: set start='uniform'.")
        if self.start == 'zero' and self.restarts > 1:
            raise UserError("restarts above 1 need a random start: set start='uniform', or restarts=1.")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attempts in reports."""
        if (self.steps, self.step_size, self.start) == (1, self.eps, 'zero'):
            return ('fgsm',)
        kind = dict(labels='pgd', features='feature')[self.objective]
        return tuple(f'{kind}-{number}' for number in range(1, self.restarts + 1))

    def attempts(self, classifier: PixelClassifier) -> list:
        """Return one function for each of ``names``, which maps images in pixels and labels to perturbed images.

        Args:
            classifier: A ``PixelClassifier``.
        """

        def attempt(x, labels):
            return self.maximize(OBJECTIVES[self.objective](self.loss, classifier, x, labels), x)

        return [attempt] * self.restarts


def _of_labels(loss: str, classifier, x, labels):
    value = classification_loss(loss)
    return lambda images: value(classifier.logits(images), labels)


def _of_features(loss: str, classifier, x, labels):
    distance = feature_distance(loss)
    with torch.no_grad():
        clean = classifier.features(x)
    return lambda images: distance(classifier.features(images), clean)


OBJECTIVES = {'labels': _of_labels, 'features': _of_features}


def fgsm(eps: float, norm: str = 'linf', loss: str = 'ce') -> WhiteBox:
    """The fast gradient sign method: one step of size ``eps`` from the clean image.

    Source: Goodfellow et al., arXiv 1412.6572, section 4.
    """
    return WhiteBox(eps, norm, steps=1, step_size=eps, start='zero', loss=loss)


# PGD on the features of the encoder.
feature_pgd = partial(WhiteBox, objective='features', loss='l2')
