"""What the attack maximises: how far the encoder's features of perturbed images are from those of clean images.

The features are the encoder's output, or an early layer's, where the attack's passes then end (``Pass.encode``). The
reconstruction loss is here for comparison: the paper advises against it.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..domain import Domain, use_domain
from ..replay import Pass, RecordedRandomness


def features_of(model: Any, output: Any) -> torch.Tensor:
    """Select the features from an output of the encoder, or of one of its layers, which is a tensor of features."""
    return output if isinstance(output, torch.Tensor) else model.features(output)


class Objective:
    """A distance between features of perturbed and clean images: a scalar, summed over the batch, or a value per image.

    Args:
        model: An ``AdversarialMIM``. It is in the ADV domain whenever the objective is called.
        clean: The clean pass over the images.
    """

    def __init__(self, model: Any, clean: Pass):
        self.model, self.clean, self.images = model, clean, clean.images

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the objective of perturbed images, (B, C, H, W)."""
        raise NotImplementedError

    def of(self, adv: Pass) -> torch.Tensor:
        """Compute the objective of the images of an adversarial pass."""
        return self(adv.images)

    def features(self, x: torch.Tensor, order: Sequence[int] | None = None) -> torch.Tensor:
        """Compute features of images as the algorithm's loss does; ``order`` permutes masks of the data samples."""
        return features_of(self.model, self.clean.encode(x, order))

    @contextmanager
    def clean_target(self, randomness: RecordedRandomness) -> Iterator[None]:
        """Inside, the features of clean images are computed as targets, with these random numbers."""
        with torch.no_grad(), use_domain(self.model, Domain.CLEAN), randomness.replayed():
            yield


class SameMask(Objective):
    """The attack sees the mask of the clean pass. Its features are the target, so nothing is computed twice."""

    def __init__(self, model: Any, clean: Pass):
        super().__init__(model, clean)
        self.target = features_of(model, clean.features).detach()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        with self.clean.randomness.replayed():
            return self.model.distance(self.features(x), self.target)

    def of(self, adv: Pass) -> torch.Tensor:
        # The adversarial pass has computed these features.
        return self.model.distance(features_of(self.model, adv.features), self.target)


class ResampledMask(Objective):
    """The attack sees another mask at each step. The clean features are computed under that mask."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        samples = self.clean.data_samples or ()
        # Not a tensor: the host would wait for it.
        order = random.sample(range(len(samples)), len(samples))
        with self.clean_target(RecordedRandomness()):
            target = self.features(self.images, order)
        return self.model.distance(self.features(x, order), target)


class NoMask(Objective):
    """The attack sees the whole image."""

    def __init__(self, model: Any, clean: Pass):
        super().__init__(model, clean)
        with self.clean_target(clean.randomness):
            self.target = self.features(self.images)

    def features(self, x: torch.Tensor, order: Sequence[int] | None = None) -> torch.Tensor:
        return features_of(self.model, self.clean.until_layer(lambda: self.model.extract_feat(x)))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        with self.clean.randomness.replayed():
            return self.model.distance(self.features(x), self.target)


class Reconstruction(Objective):
    """The algorithm's own loss of perturbed images, under the mask of the clean pass: the paper's ablation."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.of(self.model.adversarial_pass(self.clean, x))

    def of(self, adv: Pass) -> torch.Tensor:
        # The loss is a mean over images.
        return adv.loss * len(adv.images)


# The masks that an attack on features may see.
MASKS = {'same': SameMask, 'resampled': ResampledMask, 'none': NoMask}


def objective_of(model: Any, clean: Pass) -> Objective:
    """Return what the attack of an ``AdversarialMIM`` on the images of a clean pass maximises."""
    kind = Reconstruction if model.attack_objective == 'reconstruction' else MASKS[model.attack_mask]
    return kind(model, clean)
