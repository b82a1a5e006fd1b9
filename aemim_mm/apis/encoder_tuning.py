"""Adversarial fine-tuning of any encoder, without labels: its features stay when an attack moves the image.

Source: FARE (Schlarmann et al., ICML 2024), arXiv 2402.12336.
"""

import copy
from os import PathLike
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmpretrain.registry import MODELS
from torch import nn

from ..attacks import feature_distance
from ..attacks.pixels import is_number
from ..errors import UserError
from ..export.source import METADATA
from ..models.modes import only_inputs_need_gradients
from ..models.precision import attack_precision
from .encoder import load_encoder


@MODELS.register_module()
class AdversarialEncoderTuning(BaseModel):
    """Fine-tune an encoder so that the features of attacked images are those that it had for the clean images.

        loss = max over ||x_a - x|| <= eps  of  L_d( E(x_a),  stopgrad E_0(x) )

    ``E_0`` is the encoder as it was loaded, frozen. What was trained on its features stays usable. Checkpoints hold
    ``E`` alone, as ``backbone.*``, and ``load_encoder`` reads them.

    Args:
        encoder: A checkpoint, as for ``load_encoder``: of this project, mmpretrain, timm, facebookresearch (MAE, DINO)
            or Hugging Face.
        data_preprocessor: An ``AdvDataPreprocessor`` with the attack. Default for ``mean`` and ``std``: the encoder's.
        out_type: The features that are kept, as of ``load_encoder``: ``cls_token``, ``avg_featmap``, ``featmap`` or
            ``raw``. Default: the encoder's usual ones.
        num_heads: Number of attention heads, if the checkpoint does not say.
        distance: ``l2`` (squared), ``l1``, ``cosine`` or ``kl``.
        clean_weight: Weight of the same distance for clean images, >= 0. FARE has no such term.
        attack_precision: ``auto`` (the training's precision, but float32 if that is float16), ``float32`` or
            ``bfloat16``.
        trusted: As in ``load_encoder``.

    Raises:
        UserError: The checkpoint cannot be read, or an argument is wrong.
    """

    backbone: nn.Module
    data_preprocessor: Any

    def __init__(
        self,
        encoder: str | PathLike,
        data_preprocessor: dict,
        out_type: str | None = None,
        num_heads: int | None = None,
        distance: str = 'l2',
        clean_weight: float = 0.0,
        attack_precision: str = 'auto',
        trusted: bool = False,
    ):
        original = load_encoder(encoder, out_type=out_type, num_heads=num_heads, trusted=trusted)
        super().__init__(data_preprocessor=MODELS.build(_normalised_as(original, data_preprocessor)))
        if not hasattr(self.data_preprocessor, 'perturb'):
            raise UserError(f"Set data_preprocessor.type='AdvDataPreprocessor', not {data_preprocessor['type']!r}.")
        if not is_number(clean_weight) or clean_weight < 0:
            raise UserError(f'clean_weight is >= 0, but got {clean_weight!r}.')
        tuned = copy.deepcopy(original)
        tuned.requires_grad_(True)
        self.backbone, self.spec = tuned.backbone, tuned.spec
        # Not a submodule: it is loaded from its own file, and checkpoints are to hold one encoder.
        self._outside = dict(original=original, tuned=tuned)
        per_image = getattr(self.data_preprocessor, 'halving', False)
        self.distance = feature_distance(distance, per_image=per_image)
        self.clean_weight, self.attack_precision = clean_weight, attack_precision

    def _apply(self, fn, *args):
        self._outside['original']._apply(fn, *args)
        return super()._apply(fn, *args)

    def init_weights(self) -> None:
        """Keep the weights of the checkpoint."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features of normalised images, (B, C, H, W), in the form of ``out_type``."""
        return self._outside['tuned'](images)

    def extract_feat(self, inputs: torch.Tensor) -> tuple:
        """Compute the output of the backbone for normalised images, (B, C, H, W), as mmpretrain's models do."""
        return self.backbone(inputs)

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Return features, or with ``mode='loss'`` the losses of a training step.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: Not used.
            mode: ``tensor`` or ``loss``.
        """
        return self.loss(inputs) if mode == 'loss' else self.features(inputs)

    def loss(self, inputs: torch.Tensor) -> dict:
        """Attack the encoder, and compute how far the features are from the original ones.

        Returns:
            ``loss_adv``, and ``loss_clean`` if it has a weight, per image; for the log, the distance relative to the
            original features' length: ``moved_clean`` and ``moved_adv``.
        """
        with torch.no_grad():
            target = self._outside['original'](inputs)
        precision = attack_precision(self.attack_precision, inputs.device.type)
        with only_inputs_need_gradients(self), precision:
            x_adv = self.data_preprocessor.perturb(inputs, lambda x: self.distance(self.features(x), target))
        adv = self.features(x_adv)
        losses = dict(loss_adv=self._distance(adv, target), moved_adv=_moved(adv, target))
        with torch.set_grad_enabled(self.clean_weight > 0):
            clean = self.features(inputs)
        if self.clean_weight:
            losses['loss_clean'] = self.clean_weight * self._distance(clean, target)
        return dict(losses, moved_clean=_moved(clean, target))

    def _distance(self, features, target):
        return self.distance(features, target).sum() / len(target)


def _moved(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean distance of features from the original ones, as a share of the original ones' length."""
    features, target = features.detach().float().flatten(1), target.float().flatten(1)
    return ((features - target).norm(dim=1) / target.norm(dim=1)).mean()


def _normalised_as(encoder: Any, config: dict) -> dict:
    """Complete the config of a data preprocessor by the normalisation of an encoder, or check that it is the same."""
    config = dict(config)
    if encoder.mean is None:
        if not config.get('mean') or not config.get('std'):
            raise UserError(
                'The checkpoint does not say how its images were normalised. Set mean and std of data_preprocessor, in '
                'pixels, 0-255.'
            )
        return config
    for name, own in dict(mean=encoder.mean, std=encoder.std).items():
        given = config.setdefault(name, list(own))
        if len(given) != len(own) or any(abs(a - b) > 0.01 for a, b in zip(given, own)):
            raise UserError(f'data_preprocessor.{name} is {list(own)} for this encoder, but got {given}. Leave it out.')
    config.setdefault('to_rgb', bool(encoder.spec.to_rgb) and encoder.in_channels == 3)
    return config


@HOOKS.register_module()
class EncoderSpecHook(Hook):
    """Write the description of a tuned encoder into its checkpoints, so that ``load_encoder`` needs nothing else."""

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Add the description of ``runner.model``."""
        model = getattr(runner.model, 'module', runner.model)
        checkpoint['meta'][METADATA] = model.spec.stored()
