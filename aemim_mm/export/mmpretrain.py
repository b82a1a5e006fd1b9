"""Our names, which are mmpretrain's: ``backbone.`` the encoder, ``neck.`` MAE's decoder, ``head.`` a classifier.

Every other layout is read into these names and written from them. Also here: what a detector takes of them.
"""

import re

from ..errors import UserError
from .names import Converted, rename

LAYERS = ('ln1', 'attn.qkv', 'attn.proj', 'ln2', 'ffn.layers.0.0', 'ffn.layers.1')
# All that a plain ViT has. Others (relative positions, layer scale, gates) would change what it computes.
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
    """The names of a whole model stay."""

    def translate(name):
        known = VIT.fullmatch(name) or SWIN.fullmatch(name) or not name.startswith('backbone.')
        return name if known else None

    return rename(state, translate, lambda name: None)


def bare_to_pivot(state: dict) -> Converted:
    """The names of ``VisionTransformer`` or ``SwinTransformer`` alone get ``backbone.`` before them."""
    return to_pivot({f'backbone.{name}': value for name, value in state.items()})


def to_aemim(state: dict, spec) -> Converted:
    """All of it: ``load_from`` of a pre-training config takes encoder and decoder."""
    return Converted(dict(state))


def to_mmpretrain(state: dict, spec) -> Converted:
    """Encoder and classifier, with ``backbone.`` before the encoder's names, as ``init_cfg`` with a prefix expects."""

    def translate(name):
        kept = name.startswith(('backbone.', 'head.')) and name != 'backbone.mask_token'
        return name if kept else None

    return rename(state, translate, lambda name: 'only pre-training needs it')


def to_vitdet(state: dict, spec) -> Converted:
    """The backbone of this project's detectors, ``aemim_mm.det.ViTDet``: patches only, positions (1, H, W, C)."""
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
