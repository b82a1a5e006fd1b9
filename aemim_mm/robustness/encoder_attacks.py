"""Attacks on an encoder alone: how far the features move, and how much worse the reconstruction becomes."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..attacks import PGD, PixelSpace, feature_distance
from ..errors import unknown_name
from ..models.algorithms import AdversarialMIM
from ..replay import Pass, RecordedRandomness, outputs_given_back, substituted_argument
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


class _Host:
    """What ``Pass`` asks of an algorithm, for stock algorithms too. The features are those of the whole encoder."""

    attack_layer = ''

    def __init__(self, model: Any):
        self.model, self.backbone = model, model.backbone
        if isinstance(model, AdversarialMIM):
            self.target_networks = model.target_networks
        else:
            parts = (getattr(model, name, None) for name in ('teacher', 'target_generator'))
            self.target_networks = [part for part in parts if isinstance(part, nn.Module)]

    def attacked_images(self, inputs: Any) -> torch.Tensor:
        if isinstance(self.model, AdversarialMIM):
            return self.model.attacked_images(inputs)
        return inputs[0] if isinstance(inputs, (list, tuple)) else inputs

    def with_attacked_images(self, inputs: Any, images: torch.Tensor) -> Any:
        if isinstance(self.model, AdversarialMIM):
            return self.model.with_attacked_images(inputs, images)
        return [images, *inputs[1:]] if isinstance(inputs, (list, tuple)) else images

    def features(self, output: Any) -> torch.Tensor:
        if isinstance(self.model, AdversarialMIM):
            return self.model.features(output)
        # MAE's backbone returns (latent, mask, ids_restore), and iTPN's has a tuple of maps in the place of the latent.
        return last_tensor(output[0]) if isinstance(output, (tuple, list)) else output


def clean_pass(model: Any, inputs: Any, data_samples: list | None) -> Pass:
    """Run the loss of a MIM algorithm on clean images, to repeat it with perturbed ones.

    Args:
        model: A MIM algorithm of mmpretrain. For AEMIM, the loss is that of the algorithm under the mixin.
        inputs: Normalised images, (B, C, H, W), or two views of them.
        data_samples: One for each image.

    Raises:
        UserError: The loss does not call the backbone.
    """
    loss = super(AdversarialMIM, model).loss if isinstance(model, AdversarialMIM) else model.loss
    with torch.no_grad():
        return Pass(loss, _Host(model), inputs, data_samples)


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
        model: As of :func:`clean_pass`.
        inputs: Normalised images, (B, C, H, W), or two views of them, of which the first is attacked.
        data_samples: One for each image; they hold the mask, if the pipeline makes it.
        attack: Budget, steps and start.
        adv_target: What the model reconstructs: ``clean``, the clean image, so that the attack acts through the encoder
            only; or ``adv``, the perturbed image, as in training.
        seed: Seed of the masks and of the start.
        quantize: Round the perturbed images to 8 bits, inside the budget.

    Raises:
        UserError: An unknown ``adv_target``.
    """
    with left_as_it_was(model, seed=seed):
        loss, x = _reconstruction(model, inputs, data_samples, adv_target)
        torch.manual_seed(seed + 1)  # `seed` has drawn the mask.
        # The loss is a mean over the batch. An objective is a sum.
        x_adv = _perturbed(attack, lambda images: len(images) * loss(images), x, quantize)
        with torch.no_grad():
            before, after = (loss(images).item() for images in (x, x_adv))
    return EncoderAttackResult(x_adv, before, after)


def reconstruction_loss(
    model: Any, inputs: torch.Tensor, data_samples: list | None, perturbed: torch.Tensor, *, seed: int = 0
) -> float:
    """Compute the reconstruction loss of a pre-training model for perturbed images; the target is the clean image.

    Args:
        model, inputs, data_samples, seed: As of :func:`reconstruction_attack`; equal seeds give equal masks.
        perturbed: Perturbed images in pixels, (B, C, H, W).
    """
    with left_as_it_was(model, seed=seed), torch.no_grad():
        return _reconstruction(model, inputs, data_samples, 'clean')[0](perturbed).item()


def _reconstruction(model, inputs, data_samples, adv_target: str) -> tuple[Callable, torch.Tensor]:
    """Return a function from images in pixels to the mean loss of the batch, and the clean images in pixels."""
    if adv_target not in ('clean', 'adv'):
        raise unknown_name('adv_target', adv_target, ('clean', 'adv'))
    space, from_clean = PixelSpace.of(model.data_preprocessor), adv_target == 'clean'
    step = clean_pass(model, inputs, data_samples)
    x = to_pixels(space, step.images)
    clean = space.normalize(x)

    def loss(images) -> Any:
        perturbed = space.normalize(images)
        with ExitStack() as inside:
            if from_clean and step.targets:
                inside.enter_context(outputs_given_back(step.targets))
            elif from_clean:
                method = 'forward' if isinstance(model.head.loss, nn.Module) else 'loss'
                inside.enter_context(substituted_argument(model.head, method, perturbed, clean))
            return step.again(perturbed).loss

    return loss, x


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
    distance = feature_distance(attack.loss)
    with left_as_it_was(model, seed=seed):
        encode, x = _encoder(model, inputs, features)
        with torch.no_grad():
            clean = encode(x)
        torch.manual_seed(seed + 1)  # `seed` has drawn the mask.
        x_adv = _perturbed(attack, lambda images: distance(encode(images), clean), x, quantize)
        with torch.no_grad():
            before, after = (distance(encode(images), clean).item() / len(images) for images in (x, x_adv))
            moved = _moved(encode(x_adv), clean)
    return EncoderAttackResult(x_adv, before, after, moved)


def features_moved(
    model: Any, inputs: torch.Tensor, perturbed: torch.Tensor, *, features: Callable | None = None, seed: int = 0
) -> torch.Tensor:
    """Compute how far the features of perturbed images are from those of the clean ones, as a share of their length.

    Args:
        model, inputs, features, seed: As of :func:`feature_attack`.
        perturbed: Perturbed images in pixels, (B, C, H, W).

    Returns:
        (B,).
    """
    with left_as_it_was(model, seed=seed), torch.no_grad():
        encode, x = _encoder(model, inputs, features)
        return _moved(encode(perturbed), encode(x))


def _encoder(model, inputs, features) -> tuple[Callable, torch.Tensor]:
    """Return a function from images in pixels to features, with the same random numbers, and the images in pixels."""
    space, randomness = PixelSpace.of(model.data_preprocessor), RecordedRandomness()

    def encode(images):
        with randomness.replayed():
            return (features or (lambda images: last_tensor(model.extract_feat(images))))(space.normalize(images))

    return encode, to_pixels(space, inputs)


def _moved(features, clean) -> torch.Tensor:
    return _length(features - clean) / _length(clean).clamp_min(1e-12)


def features_in_training(model: Any, inputs: Any, data_samples: list | None) -> Callable:
    """Return the encoder of a MIM algorithm as it is called in training, under the masks of one pass.

    Args:
        model, inputs, data_samples: As of :func:`clean_pass`.

    Returns:
        A function that maps normalised images, (B, C, H, W), to features.
    """
    with left_as_it_was(model, seed=0):
        step = clean_pass(model, inputs, data_samples)

    def features(perturbed):
        with step.randomness.replayed():
            return step.model.features(step.encode(perturbed))

    return features


def _perturbed(attack: PGD, objective, x, quantize: bool) -> torch.Tensor:
    x_adv = attack.budget.ball(x).project(attack.maximize(objective, x))
    return attack.budget.quantize(x_adv, x) if quantize else x_adv


def _length(features) -> torch.Tensor:
    return features.float().flatten(1).norm(dim=1)
