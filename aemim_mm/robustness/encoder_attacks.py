"""Attacks on an encoder alone: how far the features move, and how much worse the reconstruction becomes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..attacks import PGD, PixelSpace, feature_distance
from ..errors import UserError, unknown_name
from ..models.algorithms import AdversarialMIM
from ..replay import RecordedRandomness, recorded_outputs, substituted_argument
from .pixels import last_tensor, left_as_it_was, to_pixels
from .whitebox import WhiteBox


@dataclass
class EncoderAttackResult:
    """The outcome of an attack on an encoder.

    Attributes:
        x_adv: Perturbed images in pixels, (B, C, H, W).
        before, after: The objective per image before and after the attack.
        moved: Feature attack only: how far the features of each image moved, as a share of their length, (B,).
    """

    x_adv: torch.Tensor
    before: float
    after: float
    moved: Any = None


def algorithm_loss(model: Any) -> Callable:
    """Return the loss of a MIM algorithm; for AEMIM, the clean-domain loss of the algorithm under the mixin."""
    if isinstance(model, AdversarialMIM):
        return super(AdversarialMIM, model).loss
    return model.loss


def reconstruction_attack(
    model: Any,
    inputs: torch.Tensor,
    data_samples: list | None,
    attack: PGD,
    *,
    adv_target: str = 'clean',
    seed: int = 0,
    quantize: bool = False,
) -> EncoderAttackResult:
    """Maximise the reconstruction loss of a pre-training model, under fixed masks and other random numbers.

    Args:
        model: A MIM algorithm of mmpretrain. For AEMIM, the attack takes :func:`algorithm_loss`.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One for each image; they hold the mask, if the pipeline makes it.
        attack: Budget, steps and start.
        adv_target: What the model reconstructs: ``clean``, the clean image, so that the attack acts through the encoder
            only; or ``adv``, the perturbed image, as in training.
        seed: Seed of the masks and of the start.
        quantize: Round the perturbed images to 8 bits, inside the budget.

    Raises:
        UserError: An unknown ``adv_target``.
    """
    if adv_target not in ('clean', 'adv'):
        raise unknown_name('adv_target', adv_target, ('clean', 'adv'))
    space = PixelSpace.of(model.data_preprocessor)
    with left_as_it_was(model, seed=seed):
        x = to_pixels(space, inputs)
        clean = space.normalize(x)
        randomness = RecordedRandomness()

        def objective(images) -> Any:
            perturbed = space.normalize(images)
            target = clean if adv_target == 'clean' else perturbed
            with randomness.replayed(), substituted_argument(model.head, 'loss', perturbed, target):
                losses = algorithm_loss(model)(perturbed, data_samples)
            # The losses are means over the batch. An objective is a sum.
            return len(images) * sum(value for name, value in losses.items() if 'loss' in name)

        torch.manual_seed(seed + 1)  # `seed` has drawn the mask.
        x_adv = _perturbed(attack, objective, x, quantize)
        with torch.no_grad():
            before, after = (objective(images).item() / len(images) for images in (x, x_adv))
    return EncoderAttackResult(x_adv, before, after)


def feature_attack(
    model: Any,
    inputs: torch.Tensor,
    attack: WhiteBox,
    *,
    features: Callable[[torch.Tensor], torch.Tensor] | None = None,
    seed: int = 0,
    quantize: bool = False,
) -> EncoderAttackResult:
    """Maximise the distance between the features of clean and perturbed images, for any encoder of mmpretrain.

    Args:
        model: A model with a ``data_preprocessor`` and ``extract_feat``.
        inputs: Normalised images, (B, C, H, W).
        attack: Budget, steps and start; ``loss`` is the distance.
        features: Maps normalised images to features (B, ..., C) or a map (B, C, H, W). Default: the last output of
            ``model.extract_feat``. For a MIM algorithm, see :func:`features_in_training`.
        seed: Seed of the start, and of a model that draws masks or the like.
        quantize: Round the perturbed images to 8 bits, inside the budget.
    """
    space = PixelSpace.of(model.data_preprocessor)
    distance = feature_distance(attack.loss)
    with left_as_it_was(model, seed=seed):
        x = to_pixels(space, inputs)
        randomness = RecordedRandomness()

        def encode(images):
            with randomness.replayed():
                return (features or (lambda images: last_tensor(model.extract_feat(images))))(space.normalize(images))

        with torch.no_grad():
            clean = encode(x)
        torch.manual_seed(seed + 1)  # `seed` has drawn the mask.
        x_adv = _perturbed(attack, lambda images: distance(encode(images), clean), x, quantize)
        with torch.no_grad():
            before, after = (distance(encode(images), clean).item() / len(images) for images in (x, x_adv))
            moved = _length(encode(x_adv) - clean) / _length(clean).clamp_min(1e-12)
    return EncoderAttackResult(x_adv, before, after, moved)


def features_in_training(model: Any, data_samples: list | None) -> Callable:
    """Return the encoder of a MIM algorithm as it is called in training, under the masks of one pass.

    Args:
        model: A MIM algorithm of mmpretrain.
        data_samples: One for each image.

    Returns:
        A function that maps normalised images, (B, C, H, W), to features. It raises a UserError if the loss does not
        call the backbone.
    """
    with left_as_it_was(model, seed=0):
        randomness = RecordedRandomness()

    def features(perturbed):
        with randomness.replayed(), recorded_outputs(model.backbone, number=1) as outputs:
            algorithm_loss(model)(perturbed, data_samples)
        if not outputs:
            raise UserError(f'The loss of {type(model).__name__} does not call its backbone, so it has no features.')
        if hasattr(model, 'features'):
            return model.features(outputs[0])
        # MAE's backbone returns (latent, mask, ids_restore).
        return outputs[0][0] if isinstance(outputs[0], (tuple, list)) else outputs[0]

    return features


def _perturbed(attack: PGD, objective, x, quantize: bool) -> torch.Tensor:
    x_adv = attack.budget.ball(x).project(attack.maximize(objective, x))
    return attack.budget.quantize(x_adv, x) if quantize else x_adv


def _length(features) -> torch.Tensor:
    return features.float().flatten(1).norm(dim=1)
