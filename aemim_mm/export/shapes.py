"""Check that the tensors of an encoder have the shapes that belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from .spec import EncoderSpec


def check_ranks(state: dict, path: object) -> None:
    """Check the number of dimensions of each tensor, which a description of the encoder is read from.

    Args:
        state: Tensors under our names.
        path: The file, for messages.

    Raises:
        UserError: A tensor has another number, or no values.
    """
    ranks = {
        r'(pos_embed|token)$': 3,
        r'patch_embed\.projection\.weight$': 4,
        r'bias_table$|(qkv|proj|ffn\.layers\.(0\.0|1)|reduction|decoder_embed|decoder_pred|fc)\.weight$': 2,
        r'(ln1|ln2|norm\d?)\.weight$|\.bias$': 1,
    }
    for name, value in state.items():
        if name == 'backbone.pos_embed' and 'backbone.cls_token' not in state:  # A detector's, of another layout.
            continue
        rank = next((rank for pattern, rank in ranks.items() if re.search(pattern, name)), value.ndim)
        if value.ndim != rank or not value.numel():
            raise _wrong(path, name, value, f'{rank} dimensions, none empty')


def check_shapes(state: dict, spec: EncoderSpec, path: object) -> None:
    """Check the shapes of an encoder's tensors against its description.

    Args:
        state: Tensors under our names.
        spec: The description.
        path: The file, for messages.

    Raises:
        UserError: A tensor has another shape.
    """
    for name, value in state.items():
        match = re.fullmatch(r'backbone\.(stages\.(\d+)\.)?(.+)', name)
        if match:
            known = _shapes(spec, stage=int(match[2] or 0))
            shape = next((shape for pattern, shape in known.items() if re.fullmatch(pattern, match[3])), value.shape)
            if tuple(value.shape) != tuple(shape):
                raise _wrong(path, name, value, f'{shape}, as its other tensors suggest')


def _shapes(spec: EncoderSpec, stage: int) -> dict:
    """Return the shapes of the tensors of a Swin's stage or of a ViT, by regular expressions for their names."""
    width, hidden = spec.embed_dims * 2**stage, spec.feedforward_channels * 2**stage
    shapes = {
        r'cls_token|mask_token': (1, 1, width),
        r'patch_embed\.(projection\.bias|norm\.(weight|bias))': (width,),
        r'.*(ln|norm)[12]\.(weight|bias)|.*attn(\.w_msa)?\.proj\.bias|.*ffn\.layers\.1\.bias': (width,),
        r'.*attn(\.w_msa)?\.qkv\.weight': (3 * width, width),
        r'.*attn(\.w_msa)?\.qkv\.bias': (3 * width,),
        r'.*attn(\.w_msa)?\.proj\.weight': (width, width),
        r'.*ffn\.layers\.0\.0\.weight': (hidden, width),
        r'.*ffn\.layers\.0\.0\.bias': (hidden,),
        r'.*ffn\.layers\.1\.weight': (width, hidden),
        r'downsample\.norm\.(weight|bias)': (4 * width,),
        r'downsample\.reduction\.weight': (2 * width, 4 * width),
    }
    if spec.kind == 'swin':
        last = len(spec.depths) - 1
        shapes = {rf'norm{last}\.(weight|bias)': (spec.embed_dims * 2**last,), **shapes}
    else:
        shapes['pos_embed'] = (1, 1 + spec.grid[0] * spec.grid[1], width)
    return shapes


def _wrong(path: object, name: str, value, expected: str) -> UserError:
    shape = tuple(value.shape)
    return UserError(
        f'{path} holds no whole encoder: {name} (under our names) has the shape {shape}. Expected {expected}.'
    )
