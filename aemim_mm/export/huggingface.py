"""Tensor names of Hugging Face's ``ViTMAEForPreTraining`` and ``ViTModel``, and the files beside the weights.

Hugging Face has three layers for query, key and value. This project has one layer with the three in this order. The
order of pixels in a patch is the same: rows, columns, channels. Norms of Hugging Face add 1e-12 to the variance unless
config.json says otherwise; norms of this project add 1e-6.

Source: https://github.com/huggingface/transformers, models/vit_mae and models/vit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from ..errors import UserError
from .names import Converted, NameTable, rename

if TYPE_CHECKING:
    from .spec import EncoderSpec


def _layers(ours: str, theirs: str) -> list:
    layers = {
        'ln1': 'layernorm_before',
        'attn.query': 'attention.attention.query',
        'attn.key': 'attention.attention.key',
        'attn.value': 'attention.attention.value',
        'attn.proj': 'attention.output.dense',
        'ln2': 'layernorm_after',
        'ffn.layers.0.0': 'intermediate.dense',
        'ffn.layers.1': 'output.dense',
    }
    return [(f'{ours}.*.{name}', f'{theirs}.*.{other}') for name, other in layers.items()]


# In a model with more than an encoder, these names begin with `vit.`.
ENCODER = [
    ('backbone.cls_token', 'embeddings.cls_token'),
    ('backbone.pos_embed', 'embeddings.position_embeddings'),
    ('backbone.patch_embed.projection', 'embeddings.patch_embeddings.projection'),
    *_layers('backbone.layers', 'encoder.layer'),
    ('backbone.ln1', 'layernorm'),
]
DECODER = [
    ('neck.mask_token', 'decoder.mask_token'),
    ('neck.decoder_pos_embed', 'decoder.decoder_pos_embed'),
    ('neck.decoder_embed', 'decoder.decoder_embed'),
    *_layers('neck.decoder_blocks', 'decoder.decoder_layers'),
    ('neck.ln1', 'decoder.decoder_norm'),
    ('neck.decoder_pred', 'decoder.decoder_pred'),
]
TABLE = NameTable(ENCODER + DECODER)
IGNORED = {
    r'pooler\.': 'the pooling layer belongs to another head',
    r'classifier\.': 'a classifier stays with its library',
    r'embeddings\.mask_token': 'SimMIM hides patches with it, MAE does not',
}
PARTS = ('query', 'key', 'value')


def to_pivot(state: dict) -> Converted:
    """Convert names of Hugging Face to ours."""

    def reason(name):
        name = name.removeprefix('vit.')
        return next((why for pattern, why in IGNORED.items() if re.match(pattern, name)), None)

    converted = rename(state, lambda name: TABLE.to_ours(name.removeprefix('vit.')), reason)
    converted.state = _fused(converted.state)
    return converted


def to_huggingface(state: dict, spec: EncoderSpec) -> Converted:
    """Convert our names to those of ``ViTMAEForPreTraining``, or of ``ViTModel`` if there is no whole decoder.

    Raises:
        UserError: The encoder has no final norm, or its patches are not square.
    """
    if 'backbone.ln1.weight' not in state:
        raise UserError(
            'This encoder was fine-tuned without its final norm, which every ViT of Hugging Face has. Export the '
            'pre-trained encoder.'
        )
    if spec.patch_size[0] != spec.patch_size[1]:
        raise UserError(f'Hugging Face has square patches only, but these are {spec.patch_size}. Use --to timm.')
    with_decoder = has_decoder(state, spec)

    def translate(name):
        theirs = TABLE.to_theirs(name)
        if theirs is None or (name.startswith('neck.') and not with_decoder):
            return None
        return f'vit.{theirs}' if with_decoder and name.startswith('backbone.') else theirs

    left_out = {name: _why(name, spec) for name in state if translate(_first_part(name)) is None}
    kept = {name: value for name, value in state.items() if name not in left_out}
    return Converted(rename(_split(kept), translate, left_out.get).state, left_out)


def has_decoder(state: dict, spec: EncoderSpec) -> bool:
    """Return whether ``ViTMAEForPreTraining`` can hold the decoder: a whole decoder of MAE, for square images."""
    needed = ('mask_token', 'decoder_pos_embed', 'decoder_embed.weight', 'decoder_pred.weight', 'ln1.weight')
    blocks = 'decoder_blocks.0.ffn.layers.0.0.weight'
    is_whole = all(f'neck.{name}' in state for name in (*needed, blocks))
    return is_whole and spec.grid[0] == spec.grid[1]


def _why(name: str, spec: EncoderSpec) -> str:
    if TABLE.to_theirs(_first_part(name)) is None:
        return "Hugging Face's ViT and ViTMAE have no place for it"
    return f"Hugging Face's decoder is whole and for square images only, and this is for {spec.img_size}"


def _fused(state: dict) -> dict:
    fused = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn)\.(query|key|value)\.(weight|bias)', name)
        if not match:
            fused[name] = value
        elif match[2] == 'query':
            names = [f'{match[1]}.{part}.{match[3]}' for part in PARTS]
            missing = [other for other in names if other not in state]
            if missing:
                raise UserError(f'The checkpoint is not whole: {name} is there, but {", ".join(missing)} is not.')
            fused[f'{match[1]}.qkv.{match[3]}'] = torch.cat([state[other] for other in names])
    return fused


def _first_part(name: str) -> str:
    return name.replace('.attn.qkv.', f'.attn.{PARTS[0]}.')


def _split(state: dict) -> dict:
    split = {}
    for name, value in state.items():
        if '.attn.qkv.' in name:
            for part, rows in zip(PARTS, value.chunk(3)):
                split[name.replace('.attn.qkv.', f'.attn.{part}.')] = rows
        else:
            split[name] = value
    return split


def config_json(state: dict, spec: EncoderSpec) -> dict:
    """Return the content of config.json for the result of :func:`to_huggingface`."""
    heads, decoder = spec.heads(), has_decoder(state, spec)
    square = spec.img_size[0] == spec.img_size[1]
    config = dict(
        architectures=['ViTMAEForPreTraining' if decoder else 'ViTModel'],
        model_type='vit_mae' if decoder else 'vit',
        hidden_size=spec.embed_dims,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=heads,
        intermediate_size=spec.feedforward_channels,
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=spec.eps,
        qkv_bias='backbone.layers.0.attn.qkv.bias' in state,
        image_size=spec.img_size[0] if square else list(spec.img_size),
        patch_size=spec.patch_size[0],
        num_channels=spec.in_channels,
        initializer_range=0.02,
    )
    if decoder:
        config.update(
            decoder_hidden_size=state['neck.decoder_pred.weight'].shape[1],
            decoder_num_hidden_layers=count_layers(state, 'neck.decoder_blocks'),
            decoder_num_attention_heads=spec.decoder_heads(state['neck.decoder_pred.weight'].shape[1]),
            decoder_intermediate_size=state['neck.decoder_blocks.0.ffn.layers.0.0.weight'].shape[0],
            mask_ratio=0.75,
            norm_pix_loss=spec.norm_pix,
        )
    return config


def count_layers(state: dict, prefix: str) -> int:
    """Return the number of layers whose names are ``prefix``, a dot and a number."""
    numbers = {name.removeprefix(f'{prefix}.').split('.')[0] for name in state if name.startswith(f'{prefix}.')}
    return len(numbers)


def preprocessor_json(spec: EncoderSpec) -> dict:
    """Return the content of preprocessor_config.json: resize without cropping, then normalize."""
    config: dict[str, Any] = dict(
        image_processor_type='ViTImageProcessor',
        do_resize=True,
        size=dict(height=spec.img_size[0], width=spec.img_size[1]),
        resample=3,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=spec.mean is not None,
    )
    if spec.mean is not None and spec.std is not None:
        config.update(image_mean=[value / 255 for value in spec.mean], image_std=[value / 255 for value in spec.std])
    return config


def fields(config: dict, preprocessor: dict) -> dict:
    """Return the fields of ``EncoderSpec`` that config.json and preprocessor_config.json contain."""
    known = dict(
        num_heads=config.get('num_attention_heads'),
        decoder_num_heads=config.get('decoder_num_attention_heads'),
        img_size=config.get('image_size'),
        eps=config.get('layer_norm_eps'),
        norm_pix=config.get('norm_pix_loss'),
    )
    for name in ('mean', 'std'):
        values = preprocessor.get(f'image_{name}')
        if isinstance(values, list) and all(isinstance(value, (int, float)) for value in values):
            known[name] = [255 * value for value in values]
    return {name: value for name, value in known.items() if value is not None}
