"""Tensors of shapes that do not belong together are named."""

import re

import pytest
import torch
from helpers.tiny import aesimmim, build

import aemim_mm
from aemim_mm.errors import UserError
from aemim_mm.export import export


@pytest.mark.parametrize(
    ('name', 'shape', 'expected'),
    [
        ('backbone.pos_embed', (), '3 dimensions'),
        ('backbone.pos_embed', (0,), '3 dimensions'),
        ('backbone.patch_embed.projection.weight', (48, 192), '4 dimensions'),
        ('backbone.layers.1.attn.qkv.weight', (100, 48), '(144, 48)'),
        ('backbone.layers.0.ffn.layers.1.bias', (47,), '(48,)'),
        ('backbone.cls_token', (1, 2, 48), '(1, 1, 48)'),
        ('neck.decoder_pred.weight', (192,), '2 dimensions'),
    ],
)
def test_a_vit(aemim, name, shape, expected, tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({**aemim.state_dict(), name: torch.ones(shape)}, path)
    words = f'x.pth holds no whole encoder: {name} (under our names) has the shape {shape}. Expected {expected}'
    for read in (aemim_mm.load_encoder, lambda path, **kwargs: export(path, 'timm', **kwargs)):
        with pytest.raises(UserError, match=re.escape(words)):
            read(path, num_heads=3)


def test_a_swin(tmp_path):
    state, path = build(aesimmim()).state_dict(), tmp_path / 'x.pth'
    torch.save({**state, 'backbone.stages.0.downsample.norm.weight': torch.ones(47)}, path)
    with pytest.raises(UserError, match=r'downsample.norm.weight .* has the shape \(47,\). Expected \(48,\)'):
        export(path, 'timm')
    del state['backbone.stages.0.blocks.1.norm1.weight']
    torch.save(state, path)
    with pytest.raises(UserError, match='no whole encoder: Missing .*"stages.0.blocks.1.norm1.weight"'):
        aemim_mm.load_encoder(path)
