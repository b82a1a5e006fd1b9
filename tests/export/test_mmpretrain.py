"""Exports for mmpretrain's models, this project's models and the backbone of its detectors."""

import json

import pytest
import torch
from helpers.encoders import ARCH, assert_close, features, mae_config, randomized, saved
from helpers.tiny import build, merged
from mmpretrain.registry import MODELS
from safetensors.torch import load_file, safe_open

from aemim_mm.errors import UserError
from aemim_mm.export import export, read_source

VIT = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, out_type='raw')


@torch.no_grad()
def test_init_cfg_with_a_prefix(aemim, checkpoint, images, tmp_path):
    path = export(checkpoint, 'mmpretrain', out=tmp_path / 'x.pth').path
    stock = MODELS.build(dict(VIT, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')))
    stock.init_weights()
    stock.eval()
    assert torch.equal(stock(images)[-1], features(aemim, images))
    names = {f'backbone.{name}' for name in stock.state_dict()}
    assert torch.load(path)['state_dict'].keys() == names


def test_the_header_says_what_it_is(checkpoint, tmp_path):
    path = export(checkpoint, 'mmpretrain', domain='adv', out=tmp_path / 'x.safetensors').path
    with safe_open(path, framework='pt') as opened:
        header = opened.metadata()
    assert header['format'] == 'pt'
    said = json.loads(header['aemim_mm'])
    expected = dict(
        embed_dims=48, num_heads=3, img_size=[32, 32], patch_size=[8, 8], domain='adv', source='epoch_1.pth'
    )
    assert {name: said[name] for name in expected} == expected
    # Without the config of the run, the metadata says it.
    spec, original = read_source(path).spec, read_source(checkpoint).spec
    assert (spec.num_heads, spec.mean, spec.to_rgb) == (3, original.mean, True)


@torch.no_grad()
def test_bare_encoders_of_mmpretrain(images, tmp_path):
    stock = randomized(MODELS.build(VIT))
    torch.save(
        dict(state_dict={f'module.{name}': value for name, value in stock.state_dict().items()}), tmp_path / 'x.pth'
    )
    state = load_file(export(tmp_path / 'x.pth', 'aemim', out=tmp_path / 'y.safetensors').path)
    assert state.keys() == {f'backbone.{name}' for name in stock.state_dict()}
    model = build(mae_config(), seed=4).eval()
    model.load_state_dict(state, strict=False)
    assert torch.equal(features(model, images), stock(images)[-1])


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_round_trip_of_the_whole_model_is_bit_identical(aemim, checkpoint, tmp_path, suffix):
    path = export(checkpoint, 'aemim', out=tmp_path / f'x{suffix}').path
    back = read_source(path).state
    clean = {name: value for name, value in aemim.state_dict().items() if not name.endswith('_adv')}
    assert back.keys() == clean.keys() and all(torch.equal(back[name], clean[name]) for name in clean)


@torch.no_grad()
def test_vitdet(aemim, checkpoint, images, tmp_path):
    """Without windows and relative positions, ViTSAM equals the encoder without class token and final norm."""
    path = export(checkpoint, 'vitdet', img_size=(48, 32), out=tmp_path / 'x.pth').path
    state = torch.load(path)['state_dict']
    assert state['backbone.pos_embed'].shape == (1, 6, 4, 48)
    sam = MODELS.build(
        dict(type='ViTSAM', arch=dict(ARCH, global_attn_indexes=[0, 1]), img_size=(48, 32), patch_size=8,
             out_channels=0, use_rel_pos=False, window_size=0)
    )  # fmt: skip
    sam.eval()
    sam.load_state_dict({name.removeprefix('backbone.'): value for name, value in state.items()}, strict=True)
    images = torch.randn(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    # The encoder of the pre-training gives the same if the patches do not attend to its class token.
    stock = MODELS.build(dict(VIT, img_size=(48, 32), with_cls_token=False, final_norm=False, out_type='featmap'))
    stock.eval()
    own = {name: value for name, value in aemim.backbone.state_dict().items() if name in stock.state_dict()}
    grid = aemim.backbone.pos_embed[:, 1:]
    own['pos_embed'] = stock.resize_pos_embed(grid, (4, 4), (6, 4), num_extra_tokens=0)
    stock.load_state_dict(own)
    assert_close(sam(images)[-1], stock(images)[-1])


def test_the_detector_of_this_project_takes_it(checkpoint, tmp_path):
    pytest.importorskip('mmdet')
    from aemim_mm.det import ViTDet

    path = export(checkpoint, 'vitdet', out=tmp_path / 'x.pth').path
    arch = dict(ARCH, global_attn_indexes=[1])
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    detector = ViTDet(arch=arch, img_size=32, patch_size=8, window_size=2, init_cfg=init_cfg)
    detector.init_weights()
    state, loaded = torch.load(path)['state_dict'], detector.state_dict()
    assert {f'backbone.{name}' for name in loaded if 'rel_pos' not in name} == state.keys()
    assert all(torch.equal(loaded[name.removeprefix('backbone.')], value) for name, value in state.items())


@torch.no_grad()
def test_decoder_positions_are_interpolated_too(checkpoint, aemim, tmp_path):
    state = read_source(export(checkpoint, 'aemim', img_size=(48, 40), out=tmp_path / 'x.pth').path).state
    config = merged(mae_config(), dict(backbone=dict(img_size=(48, 40)), neck=dict(img_size=(48, 40))))
    model = build(config)
    model.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 48, 40)
    assert_close(features(model.eval(), images), features(aemim, images))
    grid = aemim.neck.decoder_pos_embed[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (6, 5), mode='bicubic').flatten(2).transpose(1, 2)
    assert_close(model.neck.decoder_pos_embed[:, 1:], expected)


def test_a_grid_that_cannot_be_known(tmp_path):
    config = merged(mae_config(), dict(backbone=dict(img_size=(48, 32)), neck=dict(img_size=(48, 32))))
    model = build(config)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='positions for 24 patches, which is no square'):
        read_source(tmp_path / 'x.pth')
    assert read_source(saved(model, config, tmp_path / 'y.pth')).spec.grid == (6, 4)
