"""Attacks on an encoder alone: how far do features move, and how much worse is a reconstruction?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..attacks import feature_distance
from ..errors import UserError, unknown_name
from ..models.algorithms import AdversarialMIM
from ..replay import RecordedRandomness, recorded_calls, substituted_argument
from .pixels import PixelSpace, last_tensor, left_as_it_was
from .whitebox import PGD, FeatureAttack


@dataclass
class EncoderAttackResult:
    """What an attack on an encoder gave.

    Attributes:
        x_adv: Perturbed images in pixels, (B, C, H, W).
        before, after: The objective per image before and after the attack.
        moved: Of a feature attack: how far the features of each image moved, as a share of their length, (B,).
    """

    x_adv: torch.Tensor
    before: float
    after: float
    moved: torch.Tensor | None = None


def algorithm_loss(model) -> Callable:
    """The loss of a MIM algorithm; of an AEMIM one, that of the algorithm it stands on, in the clean domain."""
    return super(AdversarialMIM, model).loss if isinstance(model, AdversarialMIM) else model.loss


def reconstruction_attack(
    model, inputs, data_samples, attack: PGD, *, adv_target='clean', seed=0, quantize=False
) -> EncoderAttackResult:
    """Make the reconstruction loss of a pre-training model larger, with the mask and other randomness held fixed.

    Args:
        model: A MIM algorithm of mmpretrain; of an AEMIM one, the clean domain and its algorithm's own loss.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One for each image; they hold the mask, if the pipeline makes it.
        attack: Its budget, steps and start. ``loss`` and ``restarts`` have no meaning here.
        adv_target: What is to be reconstructed: the ``clean`` image, so that the attack acts through the encoder only,
            or ``adv``, the perturbed one, as in training.
        seed: Of the mask and the start.
        quantize: Round the perturbed images to 8 bits, inside the budget.

    Raises:
        UserError: An unknown ``adv_target``.
    """
    if adv_target not in ('clean', 'adv'):
        raise unknown_name('adv_target', adv_target, ('clean', 'adv'))
    space = PixelSpace(model.data_preprocessor)
    with left_as_it_was(model, seed=seed):
        x = space.to_pixels(inputs)
        clean = space.to_inputs(x)
        randomness = RecordedRandomness()

        def objective(images):
            perturbed = space.to_inputs(images)
            target = clean if adv_target == 'clean' else perturbed
            with randomness.replayed(), substituted_argument(model.head, 'loss', perturbed, target):
                losses = algorithm_loss(model)(perturbed, data_samples)
            # The mean over the batch, so its sum has the scale of one image's loss times B.
            return len(images) * sum(value for name, value in losses.items() if 'loss' in name)

        torch.manual_seed(seed + 1)  # The mask was drawn from `seed`.
        x_adv = _perturbed(attack, objective, x, quantize)
        with torch.no_grad():
            before, after = (objective(images).item() / len(images) for images in (x, x_adv))
    return EncoderAttackResult(x_adv, before, after)


def feature_attack(
    model, inputs, attack: FeatureAttack, *, features=None, seed=0, quantize=False
) -> EncoderAttackResult:
    """Move the features of any encoder of mmpretrain, pre-trained or fine-tuned, away from the clean images'.

    Args:
        model: It has a ``data_preprocessor`` and ``extract_feat``.
        inputs: Normalised images, (B, C, H, W).
        attack: Its budget, steps, start and distance.
        features: Maps normalised images to features (B, ..., C) or a map (B, C, H, W). Default: the last output of
            ``model.extract_feat``. For a MIM algorithm, see :func:`features_in_training`.
        seed: Of the start, and of a model that draws masks or the like.
        quantize: Round the perturbed images to 8 bits, inside the budget.
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
        x_adv = _perturbed(attack, lambda images: distance(encode(images), clean), x, quantize)
        with torch.no_grad():
            before, after = (distance(encode(images), clean).item() / len(images) for images in (x, x_adv))
            moved = _length(encode(x_adv) - clean) / _length(clean).clamp_min(1e-12)
    return EncoderAttackResult(x_adv, before, after, moved)


def features_in_training(model, inputs, data_samples) -> Callable:
    """The features that a MIM algorithm's own training sees, with the masks of one pass held fixed.

    Args:
        model: A MIM algorithm of mmpretrain whose ``loss`` hands the images to its backbone.
        inputs: Normalised images, (B, C, H, W).
        data_samples: One for each image.

    Returns:
        A function of normalised images, (B, C, H, W), to features.

    Raises:
        UserError: The backbone is not called, or not with the images.
    """
    with left_as_it_was(model, seed=0), torch.no_grad(), recorded_calls(model.backbone) as calls:
        images = inputs.clone()
        algorithm_loss(model)(images, data_samples)
    if not calls:
        raise UserError(f'The loss of {type(model).__name__} does not call its backbone, so it has no features.')
    call = calls[0]

    def features(perturbed):
        with call.randomness.replayed():
            output = call.again(images, perturbed)
        if hasattr(model, 'features'):
            return model.features(output)
        # MAE gives (latent, mask, ids_restore).
        return output[0] if isinstance(output, (tuple, list)) else output

    return features


def _perturbed(attack: PGD, objective, x, quantize: bool) -> torch.Tensor:
    x_adv = attack.budget.ball(x).project(attack.maximize(objective, x))
    return attack.budget.quantize(x_adv, x) if quantize else x_adv


def _length(features) -> torch.Tensor:
    return features.float().flatten(1).norm(dim=1)
