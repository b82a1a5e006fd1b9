"""The description of an encoder, from the shapes of its tensors and the metadata of the checkpoint."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import to_2tuple

from ..errors import UserError, first_of
from ..models.patches import patch_grid
from .huggingface import count_layers
from .stored import valid

IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


@dataclass
class EncoderSpec:
    """The description of an encoder without its weights.

    Attributes:
        kind: ``'vit'`` or ``'swin'``.
        embed_dims: Width of the tokens; for Swin, in the first stage.
        num_layers: Number of layers; for Swin, in all stages.
        feedforward_channels: Width of the hidden layer of the MLPs; for Swin, in the first stage.
        in_channels: Channels of an image.
        patch_size, img_size: (height, width) in pixels.
        num_heads: Attention heads of a ViT; None if the checkpoint does not say.
        decoder_num_heads: Attention heads of the decoder; None if the checkpoint does not say.
        mean, std: Normalization by channel, in pixels 0-255; None if unknown.
        to_rgb: Whether the channels are red, green, blue; otherwise they are blue, green, red.
        eps: What the norms add to the variance.
        norm_pix: Whether the decoder predicts pixels that are normalized by patch.
        depths, stage_heads: Layers and attention heads by stage; Swin only.
        window_size: Width of the windows in patches; Swin only.
    """

    kind: str
    embed_dims: int
    num_layers: int
    feedforward_channels: int
    in_channels: int
    patch_size: tuple
    img_size: tuple
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    mean: tuple | None = None
    std: tuple | None = None
    to_rgb: bool = True
    eps: float = 1e-6
    norm_pix: bool = True
    depths: tuple = ()
    stage_heads: tuple = ()
    window_size: int = 0

    @property
    def grid(self) -> tuple:
        """Rows and columns of patches."""
        return patch_grid(self.img_size, self.patch_size)

    def heads(self) -> int:
        """Return the number of attention heads of a ViT.

        If the checkpoint does not say, this is the number of mmpretrain's architecture of the same size, or else one
        head for 64 channels.

        Raises:
            UserError: The number is unknown.
        """
        return self.num_heads or _usual_heads(self)

    def decoder_heads(self, width: int) -> int:
        """Return the number of attention heads of a decoder of this width: 16, as in MAE, unless the checkpoint says.

        Raises:
            UserError: The number is unknown.
        """
        if not self.decoder_num_heads and width % 16:
            raise UserError(
                f'The decoder is {width} wide, which 16 heads, as MAE has, do not divide. The checkpoint says no other '
                'number; take one with its config (meta), as mmengine writes it.'
            )
        return self.decoder_num_heads or 16

    def stored(self) -> dict:
        """Return the fields for the metadata of a file."""
        return asdict(self)


def _usual_heads(spec: EncoderSpec) -> int:
    size = (spec.embed_dims, spec.num_layers, spec.feedforward_channels)
    for arch in VisionTransformer.arch_zoo.values():
        if size == (arch['embed_dims'], arch['num_layers'], arch['feedforward_channels']):
            return arch['num_heads']
    if spec.embed_dims % 64:
        raise UserError(
            f'The number of attention heads cannot be known from the shapes of an encoder {spec.embed_dims} wide, and '
            'the checkpoint does not say it. Pass num_heads (--num-heads).'
        )
    return spec.embed_dims // 64


def describe(state: dict, stored: dict) -> EncoderSpec:
    """Describe an encoder.

    Args:
        state: Its tensors, under our names.
        stored: Fields of ``EncoderSpec`` that the checkpoint contains. They are not trusted.

    Raises:
        UserError: A tensor is missing, or the image size or the number of heads is unknown or wrong.
    """
    if 'backbone.patch_embed.projection.weight' not in state:
        raise UserError('The checkpoint holds no whole encoder: backbone.patch_embed.projection.weight is missing.')
    stored = valid(stored)
    patches = state['backbone.patch_embed.projection.weight']
    fields: dict[str, Any] = dict(
        in_channels=patches.shape[1], patch_size=tuple(patches.shape[2:]), **_channels(stored, patches.shape[1])
    )
    known = ('num_heads', 'decoder_num_heads', 'to_rgb', 'eps', 'norm_pix')
    fields.update({name: stored[name] for name in known if stored.get(name) is not None})
    if any(name.startswith('backbone.stages.') for name in state):
        return EncoderSpec(**{**fields, **_swin(state, stored)})
    _check_whole_vit(state)
    fields['img_size'] = _img_size(state, stored, fields['patch_size'])
    spec = EncoderSpec(
        kind='vit',
        embed_dims=patches.shape[0],
        num_layers=count_layers(state, 'backbone.layers'),
        feedforward_channels=state['backbone.layers.0.ffn.layers.0.0.weight'].shape[0],
        **fields,
    )
    if spec.num_heads and spec.embed_dims % spec.num_heads:
        raise UserError(f'{spec.num_heads} attention heads do not divide the width of the encoder, {spec.embed_dims}.')
    return spec


def _channels(stored: dict, channels: int) -> dict:
    mean, std = stored.get('mean'), stored.get('std')
    if (mean is None or std is None) and channels == 3:
        return IMAGENET
    if mean is None or std is None or len(mean) not in (1, channels) or len(std) not in (1, channels):
        return {}
    return dict(mean=tuple(mean) * (channels // len(mean)), std=tuple(std) * (channels // len(std)))


def _check_whole_vit(state: dict) -> None:
    depth = count_layers(state, 'backbone.layers')
    needed = ['backbone.cls_token', 'backbone.pos_embed', 'backbone.patch_embed.projection.bias']
    for layer in range(max(depth, 1)):
        names = ('ln1', 'attn.qkv', 'attn.proj', 'ln2', 'ffn.layers.0.0', 'ffn.layers.1')
        needed += [f'backbone.layers.{layer}.{name}.weight' for name in names]
    missing = [name for name in needed if name not in state]
    if not missing and not {'backbone.ln1.weight', 'backbone.ln2.weight'} & state.keys():
        missing = ['backbone.ln1.weight']
    if missing:
        raise UserError(
            f'The checkpoint holds no whole encoder: {first_of(missing, 4)} (under our names) missing. '
            "Expected a ViT with class token and final norm; a detector's backbone has neither."
        )


def _img_size(state: dict, stored: dict, patch_size: tuple) -> tuple:
    positions = state['backbone.pos_embed'].shape[1] - 1
    if stored.get('img_size'):
        size = tuple(to_2tuple(stored['img_size']))
        fits = all(length % patch == 0 for length, patch in zip(size, patch_size))
        if fits and math.prod(patch_grid(size, patch_size)) == positions:
            return size
    side = math.isqrt(positions)
    if side * side != positions:
        raise UserError(
            f'The checkpoint has positions for {positions} patches, which is no square, and does not say for how many '
            'rows and columns. Take a checkpoint with its config (meta), as mmengine writes it.'
        )
    return side * patch_size[0], side * patch_size[1]


def _swin(state: dict, stored: dict) -> dict:
    stages = count_layers(state, 'backbone.stages')
    table = 'backbone.stages.{}.blocks.0.attn.w_msa.relative_position_bias_table'
    needed = [table.format(stage) for stage in range(stages)] + [f'backbone.norm{stages - 1}.weight']
    needed += [f'backbone.stages.{stage}.downsample.reduction.weight' for stage in range(stages - 1)]
    missing = [name for name in needed if name not in state]
    if missing:
        raise UserError(f'The checkpoint holds no whole Swin: {first_of(missing, 4)} (under our names) missing.')
    tables = [state[name] for name in needed[:stages]]
    window = (math.isqrt(len(tables[0])) + 1) // 2
    depths = tuple(count_layers(state, f'backbone.stages.{stage}.blocks') for stage in range(stages))
    patch = state['backbone.patch_embed.projection.weight'].shape[-1]
    size = stored.get('img_size') or window * patch * 2 ** (stages - 1)
    return dict(
        kind='swin',
        embed_dims=len(state['backbone.patch_embed.projection.weight']),
        num_layers=sum(depths),
        feedforward_channels=len(state['backbone.stages.0.blocks.0.ffn.layers.0.0.weight']),
        img_size=tuple(to_2tuple(size)),
        depths=depths,
        stage_heads=tuple(table.shape[1] for table in tables),
        window_size=window,
        eps=stored.get('eps') or 1e-5,
    )
