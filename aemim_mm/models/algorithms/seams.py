"""What a MIM algorithm tells ``AdversarialMIM`` about itself: its seams, each with a default.

A class on ``AdversarialMIM`` states what differs. MAE, and any algorithm whose ``loss`` hands one tensor of images to
its backbone, states its prediction layer only.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from torch import nn

from ...adapters import AdaptedLayer, split_layer
from ...data_preprocessor import AdvDataPreprocessor
from ...errors import UserError
from ...replay import Pass, outputs_given_back, substituted_argument
from ..modes import not_training_itself, statistics_kept


class Algorithm(BaseSelfSupervisor):
    """mmpretrain's base class with the seams of ``AdversarialMIM``.

    Attributes:
        prediction_layer: Path of the layer that predicts, such as ``'neck.decoder_pred'``: each domain has its own,
            unless the decoder is shared. None: there is none.
        sample_fields: The fields of the data samples that the loss reads, so that no other field is copied to the
            device. None: all are.
        target_names: Names of the frozen networks that compute what is reconstructed, or the mask. They stay in eval
            mode. For clean images, they run once a step. See :meth:`adversarial_target`.
        targets_decide_masks: The target networks decide the mask, and nothing else. Then ``adv_target`` is about the
            images that the head gets, and all passes share the outputs of the clean one.
        default_target: ``adv_target``, unless it is chosen. ``clean`` where tokens are predicted: it saves a run of the
            tokenizer.
        head_method: The method of the head that gets the images to reconstruct.
        once_a_step: Names of methods that the loss calls, and that run in the clean pass only: updates of a momentum
            encoder, of centres, and the like.
        clean_only: Names of parts that run in the clean pass only. They get no adversarial weights.

    A class whose predictions are to be shown in panels also has ``mask_of(call)``, the mask of a recorded call of the
    backbone, (B, rows, columns), 1 = hidden; and ``image_of(pred, images)``, the predictions of the neck as normalised
    images, (B, C, H, W).
    """

    prediction_layer: str | None = None
    sample_fields: tuple[str, ...] | None = None
    target_names: tuple[str, ...] = ('target_generator',)
    targets_decide_masks = False
    default_target = 'adv'
    head_method = 'loss'
    once_a_step: tuple[str, ...] = ()
    clean_only: tuple[str, ...] = ()

    adv_target: str
    backbone: nn.Module
    neck: nn.Module
    data_preprocessor: AdvDataPreprocessor

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if getattr(self.data_preprocessor, 'sample_fields', ()) is None:
            self.data_preprocessor.sample_fields = self.sample_fields
        for network in self.target_networks:
            network.requires_grad_(False)

    def attacked_images(self, inputs: Any) -> torch.Tensor:
        """Return the images that are attacked, (B, C, H, W): the inputs, or the first of two views."""
        return inputs[0] if isinstance(inputs, (list, tuple)) else inputs

    def with_attacked_images(self, inputs: Any, images: torch.Tensor) -> Any:
        """Return inputs with other images; a second view of them gets the same perturbation."""
        if not isinstance(inputs, (list, tuple)):
            return images
        if len(inputs) != 2 or not hasattr(self.data_preprocessor, 'second_view'):
            raise UserError(
                f'{type(self).__name__} got {len(inputs)} views of each image. Expected one, or two with '
                "data_preprocessor.type='AdvTwoNormDataPreprocessor'."
            )
        preprocessor: Any = self.data_preprocessor
        return [images, preprocessor.second_view(*inputs, images)]

    def features(self, output: Any) -> torch.Tensor:
        """Select the encoder's features, (B, ..., C) or (B, C, H, W), from what the backbone returns."""
        return output[0] if isinstance(output, (tuple, list)) else output

    def adversarial_target(self, clean: Any, adv: Any) -> Any:
        """Choose what a target network gives in the adversarial pass, unless ``adv_target`` is ``clean``.

        Args:
            clean: Its output for the clean images.
            adv: Its output for the adversarial ones.
        """
        return adv

    def check_pictures(self) -> None:
        """Raise a UserError if predictions cannot be shown, because they are no pixels: there is no ``image_of``."""
        if not hasattr(self, 'image_of'):
            raise UserError(f'{type(self).__name__} predicts nothing that panels could show. Leave out PanelHook.')

    def adversarial_pass(self, attacked: Pass, x_adv: torch.Tensor) -> Pass:
        """Run the loss of adversarial images. What happens once a step has happened in the clean pass.

        Args:
            attacked: The clean pass over the images that were attacked.
            x_adv: The adversarial images, (B, C, H, W).
        """
        from_clean = self.adv_target == 'clean'
        run_again = not from_clean and not self.targets_decide_masks
        given_back = outputs_given_back(attacked.targets, self.adversarial_target if run_again else None)
        shared = (layer for layer in self.modules() if not getattr(layer, 'split_names', ()))
        with not_training_itself(self), statistics_kept(shared), given_back:
            if not from_clean or (attacked.targets and not self.targets_decide_masks):
                return attacked.again(x_adv)
            with substituted_argument(self.head, self.head_method, x_adv, attacked.images):
                return attacked.again(x_adv)

    @property
    def target_networks(self) -> list[nn.Module]:
        """The networks of ``target_names`` that this algorithm has."""
        networks: Iterable = (getattr(self, name, None) for name in self.target_names)
        return [network for network in networks if isinstance(network, nn.Module)]

    def train(self, mode: bool = True):
        """Set the mode of all parts but the target networks."""
        super().train(mode)
        for network in self.target_networks:
            network.eval()
        return self

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a part. It keeps its adversarial weights if a converter of BatchNorm (``sync_bn``) has rebuilt layers.

        The converters of torch and mmengine put stock layers in the place of split ones, and each part back by this
        method.
        """
        split_layers: dict = getattr(module, 'split_layers', {})
        for path, split in split_layers.items():
            layer = cast(nn.Module, module).get_submodule(path)
            if not isinstance(layer, AdaptedLayer):
                split_layer(layer, split.split_names)
                for own in split.split_names:
                    setattr(layer, f'{own}_adv', getattr(split, f'{own}_adv'))
                split_layers[path] = layer
        super().add_module(name, module)
