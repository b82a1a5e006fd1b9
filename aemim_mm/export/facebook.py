"""Tensor names of facebookresearch/mae, which are timm's for the encoder.

The tensors themselves are the same as in mmpretrain, also the order of pixels in a patch: rows, columns, channels.

Source: https://github.com/facebookresearch/mae, models_mae.py and models_vit.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UserError
from .names import Converted, NameTable, rename

if TYPE_CHECKING:
    from .spec import EncoderSpec


def _blocks(ours: str, theirs: str) -> list:
    layers = {
        'ln1': 'norm1',
        'attn.qkv': 'attn.qkv',
        'attn.proj': 'attn.proj',
        'ln2': 'norm2',
        'ffn.layers.0.0': 'mlp.fc1',
        'ffn.layers.1': 'mlp.fc2',
    }
    return [(f'{ours}.*.{name}', f'{theirs}.*.{other}') for name, other in layers.items()]


ENCODER = [
    ('backbone.cls_token', 'cls_token'),
    ('backbone.pos_embed', 'pos_embed'),
    ('backbone.patch_embed.projection', 'patch_embed.proj'),
    *_blocks('backbone.layers', 'blocks'),
    ('backbone.ln1', 'norm'),
]
# A classifier on the mean of the patches has fc_norm; one on the class token has not.
CLASSIFIER = [('backbone.ln2', 'fc_norm'), ('head.fc', 'head')]
DECODER = [
    ('neck.mask_token', 'mask_token'),
    ('neck.decoder_pos_embed', 'decoder_pos_embed'),
    ('neck.decoder_embed', 'decoder_embed'),
    *_blocks('neck.decoder_blocks', 'decoder_blocks'),
    ('neck.ln1', 'decoder_norm'),
    ('neck.decoder_pred', 'decoder_pred'),
]
# Without the decoder, since timm takes a mask_token as the sign of another family of models.
TIMM = NameTable(ENCODER + CLASSIFIER)
MAE = NameTable(ENCODER + CLASSIFIER + DECODER)


def to_pivot(state: dict) -> Converted:
    """Convert names of facebookresearch/mae or timm to ours."""
    return rename(state, MAE.to_ours, lambda name: None)


def to_mae(state: dict, spec: EncoderSpec) -> Converted:
    """Convert our names of encoder, decoder and classifier to those of facebookresearch/mae.

    A decoder of another kind, such as CrossMAE's, shares some names with MAE's; it is left out as a whole.
    """
    table = MAE if 'neck.decoder_embed.weight' in state else TIMM
    return rename(state, table.to_theirs, lambda name: 'facebookresearch/mae has no place for it')


def to_timm(state: dict, spec: EncoderSpec) -> Converted:
    """Convert our names of encoder and classifier to those of timm's ``VisionTransformer``.

    Raises:
        UserError: The model has two final norms.
    """
    if {'backbone.ln1.weight', 'backbone.ln2.weight'} <= state.keys():
        raise UserError(
            'This model has a norm before and another after the mean over patches, but a VisionTransformer of timm has '
            'one of them. Export the pre-trained encoder, or one fine-tuned with final_norm=False.'
        )
    return rename(state, TIMM.to_theirs, lambda name: 'timm has no place for it')
