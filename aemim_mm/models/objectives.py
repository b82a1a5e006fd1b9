"""What the attack maximises: how far the encoder's adversarial features are from the clean ones."""

from contextlib import contextmanager

import torch

from ..domain import Domain, use_domain
from ..replay import RecordedRandomness


def same_mask(model, images, call):
    """The mask of the clean pass, whose features are the target: nothing is computed twice."""
    target = model.features(call.output).detach()

    def objective(x):
        with call.randomness.replayed():
            return model.distance(model.features(call.again(images, x)), target)

    return objective


def resampled_mask(model, images, call):
    """Another mask at each step, where the clean features are computed too."""

    def objective(x):
        order = torch.randperm(len(images), device=images.device)
        with _clean_target(model, RecordedRandomness()):
            target = model.features(call.again(images, images, order))
        return model.distance(model.features(call.again(images, x, order)), target)

    return objective


def no_mask(model, images, call):
    """The whole image."""
    with _clean_target(model, call.randomness):
        target = model.features(model.extract_feat(images))

    def objective(x):
        with call.randomness.replayed():
            return model.distance(model.features(model.extract_feat(x)), target)

    return objective


# Each takes the model, the images (B, C, H, W) and the recorded clean call of the backbone, and gives a function of
# images that returns a scalar, summed over the batch. It is called in the ADV domain.
OBJECTIVES = {'same': same_mask, 'resampled': resampled_mask, 'none': no_mask}


@contextmanager
def _clean_target(model, randomness):
    with torch.no_grad(), use_domain(model, Domain.CLEAN), randomness.replayed():
        yield
