"""Cut the model of a full-size config to one narrow layer. Parts that do not fit together still do not."""

import inspect

from mmpretrain.registry import MODELS

# Fields of backbones, necks, heads and ``arch``: widths and numbers of heads, and numbers of layers.
WIDTHS = ('embed_dim', 'embed_dims', 'decoder_embed_dim', 'feedforward_channels', 'in_channels', 'input_features')
WIDTHS += ('num_heads', 'decoder_num_heads')
DEPTHS = ('num_layers', 'depths', 'decoder_depth', 'encoder_depth', 'frozen_stages', 'attack_layers')
SHARE = 4


def narrow(model: dict) -> None:
    """Divide widths and numbers of heads by four, and leave one layer in each stage, in place.

    This includes what a part has by the name of its ``arch`` or by default. The channels of an image, which are not a
    multiple of four, stay as they are.
    """
    for part in (model, model['backbone'], model.get('neck'), model.get('head')):
        if not part:
            continue
        kind = MODELS.get(part['type'])
        if isinstance(part.get('arch'), str):
            part['arch'] = dict(kind.arch_zoo[part['arch']])
        for name, parameter in inspect.signature(kind).parameters.items():
            if name in WIDTHS + DEPTHS and isinstance(parameter.default, (int, list)):
                part.setdefault(name, parameter.default)
        for sizes in (part, part.get('arch') or {}):
            for name in set(sizes) & {*WIDTHS, *DEPTHS}:
                cut = _narrower if name in WIDTHS else _one
                size = sizes[name]
                sizes[name] = [cut(value) for value in size] if isinstance(size, (list, tuple)) else cut(size)


def _narrower(width: int) -> int:
    return width if width % SHARE else width // SHARE


def _one(depth: int | None) -> int | None:
    return depth and min(depth, 1)
