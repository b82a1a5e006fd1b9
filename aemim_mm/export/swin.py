"""Tensor names of timm's ``SwinTransformer``.

Besides the names, two things differ. In timm a stage begins with the merging of patches; in mmpretrain it ends with it.
The four patches that are merged have another order.

Source: https://github.com/huggingface/pytorch-image-models, swin_transformer.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from ..errors import UserError
from .names import Converted, NameTable, rename

if TYPE_CHECKING:
    from .spec import EncoderSpec

PAIRS = [
    ('backbone.patch_embed.projection', 'patch_embed.proj'),
    ('backbone.patch_embed.norm', 'patch_embed.norm'),
    ('backbone.stages.*.downsample.norm', 'layers.*.downsample.norm'),
    ('backbone.stages.*.downsample.reduction', 'layers.*.downsample.reduction'),
    *[
        (f'backbone.stages.*.blocks.*.{ours}', f'layers.*.blocks.*.{theirs}')
        for ours, theirs in {
            'norm1': 'norm1',
            'attn.w_msa.relative_position_bias_table': 'attn.relative_position_bias_table',
            'attn.w_msa.qkv': 'attn.qkv',
            'attn.w_msa.proj': 'attn.proj',
            'norm2': 'norm2',
            'ffn.layers.0.0': 'mlp.fc1',
            'ffn.layers.1': 'mlp.fc2',
        }.items()
    ],
    ('head.fc', 'head.fc'),
]
COMPUTED = re.compile(r'.*\.(relative_position_index|attn_mask)')


def to_pivot(state: dict) -> Converted:
    """Convert timm's names to ours.

    Raises:
        UserError: The names are those of timm before 0.9.
    """
    if any(name.startswith('layers.0.downsample.') for name in state):
        raise UserError(
            'This Swin has its merging of patches at the end of a stage, as timm before 0.9 had. Load it with a newer '
            'timm, save its state_dict, and take that.'
        )
    converted = rename(state, _table(state, 'layers').to_ours, lambda name: _computed(name))
    converted.state = {
        _shifted(name, -1): _merged(name, value, to_ours=True) for name, value in converted.state.items()
    }
    return converted


def to_timm(state: dict, spec: EncoderSpec) -> Converted:
    """Convert our names to timm's."""
    state = {_shifted(name, 1): _merged(name, value, to_ours=False) for name, value in state.items()}

    def reason(name):
        return _computed(name) or 'timm has no place for it'

    return rename(state, _table(state, 'backbone.stages').to_theirs, reason)


def _table(state: dict, stages: str) -> NameTable:
    """Build the table of names. Our name of the final norm contains the number of the last stage."""
    last = max(int(name[len(stages) + 1 :].split('.')[0]) for name in state if name.startswith(f'{stages}.'))
    return NameTable([*PAIRS, (f'backbone.norm{last}', 'norm')])


def _computed(name: str) -> str | None:
    return 'the model computes it' if COMPUTED.fullmatch(name) else None


def _shifted(name: str, by: int) -> str:
    """Add ``by`` to the stage in the name of a patch merging; keep other names."""
    return re.sub(
        r'^(backbone\.stages\.)(\d+)(?=\.downsample\.)', lambda match: f'{match[1]}{int(match[2]) + by}', name
    )


def _merged(name: str, value: torch.Tensor, to_ours: bool) -> torch.Tensor:
    """Reorder the inputs of a patch merging. Our order is channel, row, column; timm's is column, row, channel."""
    if '.downsample.' not in name:
        return value
    last = value.shape[-1]
    grid = (2, 2, last // 4) if to_ours else (last // 4, 2, 2)
    return value.unflatten(-1, grid).transpose(-1, -3).flatten(-3).contiguous()
