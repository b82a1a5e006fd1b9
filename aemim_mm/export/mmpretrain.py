"""Our tensor names, which are mmpretrain's: ``backbone.`` (encoder), ``neck.`` (decoder) and ``head.`` (classifier).

All other layouts are converted to these names when they are read, and from these names when they are written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import UserError
from .names import Converted, rename

if TYPE_CHECKING:
    from .spec import EncoderSpec

LAYERS = ('ln1', 'attn.qkv', 'attn.proj', 'ln2', 'ffn.layers.0.0', 'ffn.layers.1')
# All parameters of a plain ViT. Other parameters (relative positions, layer scale, gates) would change its output.
VIT = re.compile(
    r'backbone\.(cls_token|pos_embed|mask_token|patch_embed\.projection\.(weight|bias)|ln[12]\.(weight|bias)'
    rf'|layers\.\d+\.({"|".join(map(re.escape, LAYERS))})\.(weight|bias))'
)
SWIN = re.compile(
    r'backbone\.(mask_token|patch_embed\.(projection|norm)\.(weight|bias)|norm\d\.(weight|bias)'
    r'|stages\.\d\.(downsample\.(norm|reduction)\.(weight|bias)|blocks\.\d+\.(norm[12]|attn\.w_msa\.(qkv|proj)'
    r'|ffn\.layers\.(0\.0|1))\.(weight|bias)|blocks\.\d+\.attn\.w_msa\.relative_position_(bias_table|index)))'
)


def to_pivot(state: dict) -> Converted:
    """Keep the names of a whole model; leave out parameters that a plain encoder lacks."""

    def translate(name):
        known = VIT.fullmatch(name) or SWIN.fullmatch(name) or not name.startswith('backbone.')
        return name if known else None

    return rename(state, translate, lambda name: None)


def bare_to_pivot(state: dict) -> Converted:
    """Put ``backbone.`` before the names of a ``VisionTransformer`` or ``SwinTransformer`` alone."""
    return to_pivot({f'backbone.{name}': value for name, value in state.items()})


def to_aemim(state: dict, spec: EncoderSpec) -> Converted:
    """Keep encoder and decoder, for ``load_from`` of a pre-training config."""
    return Converted(dict(state))


def to_mmpretrain(state: dict, spec: EncoderSpec) -> Converted:
    """Keep encoder and classifier, for ``init_cfg`` with the prefix ``backbone.``."""

    def translate(name):
        kept = name.startswith(('backbone.', 'head.')) and name != 'backbone.mask_token'
        return name if kept else None

    return rename(state, translate, lambda name: 'only pre-training needs it')


def to_vitdet(state: dict, spec: EncoderSpec) -> Converted:
    """Convert to ``aemim_mm.det.ViTDet``, which has no class token and positions of shape (1, H, W, C).

    Raises:
        UserError: The encoder is a Swin.
    """
    if spec.kind != 'vit':
        raise UserError('ViTDet is a plain ViT, and this encoder is a Swin. Use --to mmpretrain for a Swin detector.')
    left_out = {}

    def translate(name):
        if name in ('backbone.cls_token', 'backbone.mask_token') or re.match(r'backbone\.ln[12]\.', name):
            left_out[name] = 'ViTDet has no class token, hidden patches or final norm'
        elif not name.startswith('backbone.'):
            left_out[name] = 'only the encoder goes into a detector'
        return None if name in left_out else name

    converted = rename(state, translate, left_out.get)
    positions = state['backbone.pos_embed'][:, 1:]
    converted.state['backbone.pos_embed'] = positions.unflatten(1, spec.grid)
    return converted
