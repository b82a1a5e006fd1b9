"""How an ``AdversarialMIM`` is built: checks of its arguments, and its second set of weights."""

from numbers import Real
from typing import Any

from torch import nn

from ...adapters import adapted_layers, listed_kinds, split_adapters, split_layer
from ...adapters.placement import transformer_layers
from ...attacks import check_perturbs
from ...errors import UserError, unknown_name
from ..objectives import MASKS
from ..precision import PRECISIONS

CHOICES = {
    'decoder': ('two_heads', 'shared', 'split_norm'),
    'attack_mask': tuple(MASKS),
    'attack_objective': ('features', 'pooled', 'reconstruction'),
    'attack_precision': ('auto', *PRECISIONS),
    'adv_target': ('adv', 'clean'),
}


def check_arguments(data_preprocessor: nn.Module, adv_share: float, attack_layers: int | None, **chosen: str) -> None:
    """Check what ``AdversarialMIM`` was given.

    Args:
        data_preprocessor: It must be able to perturb images.
        adv_share: A number in (0, 1].
        attack_layers: As of ``AdversarialMIM``.
        **chosen: Name of an argument to the chosen name, one of ``CHOICES``.

    Raises:
        UserError: An unknown name, a value out of its range, or another data preprocessor.
    """
    for name, got in chosen.items():
        if got not in CHOICES[name]:
            raise unknown_name(name, got, CHOICES[name])
    check_perturbs(data_preprocessor)
    if not isinstance(adv_share, Real) or not 0 < adv_share <= 1:
        raise UserError(f'adv_share is in (0, 1], but got {adv_share!r}.')
    if chosen.get('attack_objective') == 'reconstruction' and (
        attack_layers is not None or chosen['attack_mask'] != 'same' or getattr(data_preprocessor, 'halving', False)
    ):
        raise UserError(
            'attack_objective="reconstruction" maximises the loss of the training, which runs the whole model under '
            'the same mask, and is one number for the batch. Leave out attack_layers, attack_mask and the data '
            "preprocessor's halving."
        )


def name_of_layer(backbone: nn.Module, number: int | None) -> str:
    """Return the path of the encoder's layer of this number, from 1. The path of the encoder itself, for None, is ''.

    Args:
        backbone: An encoder with transformer layers, which are counted in the order of their definition.
        number: As ``attack_layers`` of ``AdversarialMIM``.

    Raises:
        UserError: The encoder has no such layer.
    """
    if number is None:
        return ''
    paths = list(transformer_layers(backbone))
    if not paths:
        raise UserError(
            f'attack_layers needs an encoder with transformer layers, as a ViT or a Swin Transformer, but got a '
            f'{type(backbone).__name__}. Leave attack_layers out.'
        )
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(paths):
        raise UserError(
            f'attack_layers is a number of layers of the encoder, from 1 to {len(paths)}, but got {number!r}. For the '
            'whole encoder, leave it out.'
        )
    return paths[number - 1]


def split_encoder(backbone: nn.Module, adapters: Any) -> None:
    """Split the encoder's adapters in place.

    Args:
        backbone: The encoder. It may have split its own layers already.
        adapters: As of ``AdversarialMIM``.

    Raises:
        UserError: Both the backbone and the algorithm choose adapters.
    """
    is_split = bool(adapted_layers(backbone))
    if is_split and adapters is not None:
        raise UserError(
            'This backbone chooses its own adapters. Set model.backbone.adapters, and leave model.adapters out.'
        )
    adapters = ('norm', 'cls_token') if adapters is None else adapters
    if adapters and not is_split:
        split_adapters(backbone, adapters)
    _note_split_layers(backbone)


def split_decoder(model: Any, decoder: str, adapters: Any, prediction_layer: str | None) -> None:
    """Split the decoder in place.

    Args:
        model: The algorithm. Everything in it but the encoder, frozen networks and parts of the clean pass alone is its
            decoder.
        decoder, adapters: As ``decoder`` and ``decoder_adapters`` of ``AdversarialMIM``.
        prediction_layer: As of ``Algorithm``.
    """
    encoder = {'backbone', 'data_preprocessor', *model.target_names, *model.clean_only}
    parts = nn.ModuleDict({name: part for name, part in model.named_children() if name not in encoder})
    if decoder != 'shared' and prediction_layer is not None:
        layer = model.get_submodule(prediction_layer)
        split_layer(layer, tuple(name for name, _ in layer.named_parameters(recurse=False)))
    adapters = listed_kinds(adapters)
    if decoder == 'split_norm':
        adapters = ['norm', *adapters]
    if adapters:
        split_adapters(parts, adapters)
    for part in parts.values():
        _note_split_layers(part)


def _note_split_layers(part):
    """Let ``Algorithm.add_module`` find the split layers of a part after they have been replaced."""
    part.split_layers = adapted_layers(part)
