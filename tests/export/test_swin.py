"""Exports of a Swin that SimMIM pre-trained, and timm's SwinTransformer."""

import pytest
import torch
from helpers.encoders import assert_close, randomized, saved
from helpers.tiny import aesimmim, build
from mmpretrain.registry import MODELS
from safetensors.torch import load_file

from aemim_mm import Domain, load_encoder, use_domain
from aemim_mm.errors import UserError
from aemim_mm.export import export, read_source

timm = pytest.importorskip('timm')
# Four stages merge patches three times. Windows of 2 include shifted windows.
BACKBONE = dict(
    arch=dict(embed_dims=12, depths=[2, 1, 2, 1], num_heads=[2, 2, 4, 4]),
    img_size=64,
    out_indices=(3,),
    stage_cfgs=dict(block_cfgs=dict(window_size=2)),
)


@pytest.fixture(scope='module')
def simmim(tmp_path_factory):
    config = aesimmim(backbone=BACKBONE, neck=dict(in_channels=96, encoder_stride=32))
    model = randomized(build(config))
    return model, saved(model, config, tmp_path_factory.mktemp('simmim') / 'epoch_1.pth')


@pytest.fixture(scope='module')
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def timm_swin():
    return timm.models.SwinTransformer(
        img_size=64, patch_size=4, embed_dim=12, depths=(2, 1, 2, 1), num_heads=(2, 2, 4, 4), window_size=2,
        num_classes=0,
    ).eval()  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize('domain', ['clean', 'adv'])
def test_same_features_in_timm(simmim, images, domain, tmp_path):
    model, checkpoint = simmim
    report = export(checkpoint, 'timm', domain=domain, out=tmp_path / 'x.safetensors')
    swin = timm_swin()
    swin.load_state_dict(load_file(report.path), strict=True)
    with use_domain(model, Domain(domain)):
        expected = model.backbone(images, mask=None)[-1]
    assert_close(swin.forward_features(images).permute(0, 3, 1, 2), expected)
    names = dict(timm=timm)
    exec(str(report).split('load it by ')[1].split(';')[0], names)
    assert names['model'].state_dict().keys() == swin.state_dict().keys()


@torch.no_grad()
def test_from_timm(simmim, images, tmp_path):
    swin = randomized(timm_swin(), seed=1)
    torch.save(dict(state_dict=swin.state_dict()), tmp_path / 'timm.pth')
    encoder = load_encoder(tmp_path / 'timm.pth', out_type='featmap')
    assert_close(encoder(images).permute(0, 2, 3, 1), swin.forward_features(images))
    assert encoder.embed_dims == 96 and encoder.img_size == (64, 64)
    mean = load_encoder(tmp_path / 'timm.pth')(images)
    assert_close(mean, swin.forward_head(swin.forward_features(images)))


def test_round_trip_is_bit_identical(simmim, tmp_path):
    model, checkpoint = simmim
    back = read_source(export(checkpoint, 'timm', out=tmp_path / 'x.safetensors').path).state
    clean = {name: value for name, value in model.state_dict().items() if not name.endswith('_adv')}
    left = {'backbone.mask_token', 'neck.decoder.0.weight', 'neck.decoder.0.bias'}
    expected = {name for name in clean if 'relative_position_index' not in name} - left
    assert back.keys() == expected
    assert all(torch.equal(back[name], clean[name]) for name in expected)


@torch.no_grad()
def test_in_mmpretrain(simmim, images, tmp_path):
    model, checkpoint = simmim
    path = export(checkpoint, 'mmpretrain', out=tmp_path / 'x.pth').path
    config = dict(type='SwinTransformer', **BACKBONE, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    config['init_cfg']['prefix'] = 'backbone.'
    stock = MODELS.build(config)
    stock.init_weights()
    stock.eval()
    assert_close(stock(images)[-1], model.backbone(images, mask=None)[-1], atol=0)


@pytest.mark.parametrize('to', ['huggingface', 'mae', 'vitdet'])
def test_no_other_targets(simmim, to, tmp_path):
    with pytest.raises(UserError, match=r'Swin'):
        export(simmim[1], to, out=tmp_path / ('folder' if to == 'huggingface' else 'x.pth'))
    assert not list(tmp_path.iterdir())
