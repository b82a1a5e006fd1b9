"""What the attack maximises: how far the encoder's features of perturbed images are from those of clean images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..domain import Domain, use_domain
from ..replay import Pass, RecordedRandomness


class Objective:
    """A distance between features of perturbed and clean images: a scalar, summed over the batch.

    Args:
        model: An ``AdversarialMIM``. It is in the ADV domain whenever the objective is called.
        clean: The clean pass over the images.
    """

    def __init__(self, model: Any, clean: Pass):
        self.model, self.images, self.call = model, clean.images, clean.call

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the objective of perturbed images, (B, C, H, W)."""
        raise NotImplementedError

    def of(self, adv: Pass) -> torch.Tensor:
        """Compute the objective of the images of an adversarial pass."""
        return self(adv.images)

    def distance(self, output: Any, target: torch.Tensor) -> torch.Tensor:
        """Compute the distance of an encoder's output from the detached features ``target``."""
        return self.model.distance(self.model.features(output), target)

    @contextmanager
    def clean_target(self, randomness: RecordedRandomness) -> Iterator[None]:
        """Inside, the features of clean images are computed as targets, with these random numbers."""
        with torch.no_grad(), use_domain(self.model, Domain.CLEAN), randomness.replayed():
            yield


class SameMask(Objective):
    """The attack sees the mask of the clean pass. Its features are the target, so nothing is computed twice."""

    def __init__(self, model: Any, clean: Pass):
        super().__init__(model, clean)
        self.target = model.features(self.call.output).detach()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        with self.call.randomness.replayed():
            return self.distance(self.call.again(self.images, x), self.target)

    def of(self, adv: Pass) -> torch.Tensor:
        # The adversarial pass has computed these features.
        return self.distance(adv.call.output, self.target)


class ResampledMask(Objective):
    """The attack sees another mask at each step. The clean features are computed under that mask."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(len(self.images), device=self.images.device)
        with self.clean_target(RecordedRandomness()):
            target = self.model.features(self.call.again(self.images, self.images, order))
        return self.distance(self.call.again(self.images, x, order), target)


class NoMask(Objective):
    """The attack sees the whole image."""

    def __init__(self, model: Any, clean: Pass):
        super().__init__(model, clean)
        with self.clean_target(self.call.randomness):
            self.target = model.features(model.extract_feat(self.images))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        with self.call.randomness.replayed():
            return self.distance(self.model.extract_feat(x), self.target)


OBJECTIVES = {'same': SameMask, 'resampled': ResampledMask, 'none': NoMask}
