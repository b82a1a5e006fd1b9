"""Exports for timm's VisionTransformer and for facebookresearch/mae, which has the same encoder."""

from functools import partial

import pytest
import torch
from helpers.encoders import ARCH, assert_close, features, mae_config, randomized, saved
from helpers.tiny import aesimmim_vit, build
from mmpretrain.registry import MODELS
from safetensors.torch import load_file

from aemim_mm import Domain, use_domain
from aemim_mm.export import export, read_source

timm = pytest.importorskip('timm')


def timm_vit(img_size=32, **kwargs):
    kwargs = dict(num_classes=0, global_pool='token') | kwargs
    return timm.models.VisionTransformer(
        img_size=img_size, patch_size=8, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2, **kwargs
    ).eval()


def loaded(path, **kwargs):
    model = timm_vit(**kwargs)
    model.load_state_dict(load_file(path), strict=True)
    return model


@torch.no_grad()
def test_same_features(aemim, checkpoint, images, tmp_path):
    report = export(checkpoint, 'timm', out=tmp_path / 'x.safetensors')
    model = loaded(report.path)
    assert_close(model.forward_features(images), features(aemim, images))
    assert_close(model(images), features(aemim, images)[:, 0])


@torch.no_grad()
def test_the_adversarial_domain_under_the_stock_names(aemim, checkpoint, images, tmp_path):
    report = export(checkpoint, 'timm', domain='adv', out=tmp_path / 'x.safetensors')
    with use_domain(aemim, Domain.ADV):
        expected = features(aemim, images)
    assert_close(loaded(report.path).forward_features(images), expected)
    assert (expected - features(aemim, images)).abs().max() > 0.1


@torch.no_grad()
@pytest.mark.parametrize('size', [(56, 40), (16, 16)], ids=['larger', 'smaller'])
def test_positions_for_another_size(aemim, checkpoint, size, tmp_path):
    report = export(checkpoint, 'timm', img_size=size, out=tmp_path / 'x.safetensors')
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert_close(loaded(report.path, img_size=size).forward_features(images), features(aemim, images))


@torch.no_grad()
def test_timm_interpolates_otherwise(aemim, checkpoint, images, tmp_path):
    """timm interpolates with antialiasing, so docs/export.md recommends --img-size."""
    larger = torch.nn.functional.interpolate(images, (48, 48))
    model = loaded(export(checkpoint, 'timm', out=tmp_path / 'x.safetensors').path, dynamic_img_size=True)
    assert (model.forward_features(larger) - features(aemim, larger)).abs().max() > 1e-3


@torch.no_grad()
def test_from_timm(images, tmp_path):
    model = randomized(timm_vit())
    torch.save(model.state_dict(), tmp_path / 'timm.pth')
    report = export(tmp_path / 'timm.pth', 'aemim', out=tmp_path / 'x.pth', num_heads=3)
    aemim = build(mae_config(), seed=7).eval()
    missing, unexpected = aemim.load_state_dict(torch.load(report.path)['state_dict'], strict=False)
    assert not unexpected and all(name.startswith('neck.') for name in missing)
    assert_close(features(aemim, images), model.forward_features(images))
    with use_domain(aemim, Domain.ADV):  # Both domains start from these weights.
        assert_close(features(aemim, images), model.forward_features(images))


@torch.no_grad()
@pytest.mark.parametrize('pool', ['avg', 'token'])
def test_a_classifier_both_ways(pool, images, tmp_path):
    out_type = dict(avg='avg_featmap', token='cls_token')[pool]
    config = dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            arch=ARCH,
            img_size=32,
            patch_size=8,
            out_type=out_type,
            final_norm=pool == 'token',
        ),
        head=dict(type='LinearClsHead', in_channels=48, num_classes=7),
    )
    classifier = randomized(build(config))
    path = saved(classifier, config, tmp_path / 'classifier.pth')
    report = export(path, 'timm', out=tmp_path / 'timm.safetensors')
    model = loaded(report.path, num_classes=7, global_pool=pool)
    assert_close(model(images), classifier(images))
    assert f"num_classes=7, global_pool='{pool}'" in str(report)
    back = export(report.path, 'mmpretrain', out=tmp_path / 'back.safetensors')
    state = load_file(back.path)
    assert state.keys() == classifier.state_dict().keys()
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in state.items())


@torch.no_grad()
def test_a_vit_by_simmim(images, tmp_path):
    config = aesimmim_vit()
    model = randomized(build(config))
    report = export(saved(model, config, tmp_path / 'simmim.pth'), 'timm', out=tmp_path / 'x.safetensors')
    assert {'backbone.mask_token', 'neck.decoder.0.weight', 'neck.decoder.0.bias'} <= report.left_out.keys()
    vit = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=0, global_pool='token'
    )
    vit.load_state_dict(load_file(report.path), strict=True)
    got = vit.eval().forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    assert_close(got, model.backbone(images)[-1])


@torch.no_grad()
def test_how_to_build_it_is_code(checkpoint, aemim, images, tmp_path):
    report = export(checkpoint, 'timm', out=tmp_path / 'x.safetensors')
    line = next(note for note in report.notes if note.startswith('load it by '))
    import safetensors

    names = dict(timm=timm, safetensors=safetensors)
    exec(line.removeprefix('load it by '), names)
    assert_close(names['model'].eval().forward_features(images), features(aemim, images))


def test_the_name_of_a_vit_b(tmp_path):
    config = dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16)
    state = {f'backbone.{name}': value for name, value in MODELS.build(config).state_dict().items()}
    torch.save(state, tmp_path / 'b.pth')
    report = export(tmp_path / 'b.pth', 'timm', out=tmp_path / 'x.safetensors')
    assert "timm.create_model('vit_base_patch16_224', img_size=(224, 224), num_classes=0" in str(report)
    model = timm.create_model('vit_base_patch16_224', num_classes=0, global_pool='token')
    model.load_state_dict(load_file(report.path), strict=True)


# facebookresearch/mae has no package. These are its published names and its order of pixels in a patch.
MAE_NAMES = [
    'cls_token', 'pos_embed', 'mask_token', 'decoder_pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias',
    'norm.weight', 'norm.bias', 'decoder_embed.weight', 'decoder_embed.bias', 'decoder_norm.weight',
    'decoder_norm.bias', 'decoder_pred.weight', 'decoder_pred.bias',
    *(
        f'{blocks}.{index}.{layer}.{kind}'
        for blocks in ('blocks', 'decoder_blocks')
        for index in range(2)
        for layer in ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
        for kind in ('weight', 'bias')
    ),
]  # fmt: skip


def published_patchify(images, p):
    n, c, height, width = images.shape
    x = images.reshape(n, c, height // p, p, width // p, p)
    return torch.einsum('nchpwq->nhwpqc', x).reshape(n, -1, p * p * c)


def test_names_of_facebookresearch_mae_both_ways(aemim, checkpoint, tmp_path):
    report = export(checkpoint, 'mae', out=tmp_path / 'mae.pth')
    state = torch.load(report.path)['model']
    assert state.keys() == set(MAE_NAMES)
    back = read_source(report.path, num_heads=3).state
    clean = {name: value for name, value in aemim.state_dict().items() if not name.endswith('_adv')}
    assert back.keys() == clean.keys() and all(torch.equal(back[name], clean[name]) for name in clean)


def test_the_pixels_of_a_patch_have_the_published_order(aemim, images):
    assert torch.equal(aemim.head.patchify(images), published_patchify(images, 8))


@torch.no_grad()
def test_published_mae_weights_reconstruct_the_same(tmp_path):
    """A decoder built from timm's blocks predicts the same as our decoder with the imported weights."""
    torch.manual_seed(0)
    encoder, block = timm_vit(), dict(dim=32, num_heads=2, mlp_ratio=2, qkv_bias=True)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    decoder = torch.nn.Module()
    decoder.decoder_embed, decoder.decoder_pred = torch.nn.Linear(48, 32), torch.nn.Linear(32, 192)
    decoder.decoder_norm = norm(32)
    decoder.decoder_blocks = torch.nn.ModuleList(
        timm.models.vision_transformer.Block(**block, norm_layer=norm) for _ in range(2)
    )
    decoder.mask_token = torch.nn.Parameter(torch.zeros(1, 1, 32))
    decoder.decoder_pos_embed = torch.nn.Parameter(torch.zeros(1, 17, 32))
    randomized(encoder), randomized(decoder, seed=1)
    torch.save(dict(model={**encoder.state_dict(), **decoder.state_dict()}), tmp_path / 'mae.pth')

    config = mae_config('MAE')
    stock = build(config, seed=3).eval()
    report = export(tmp_path / 'mae.pth', 'aemim', out=tmp_path / 'x.safetensors', num_heads=3)
    stock.load_state_dict(load_file(report.path), strict=True)

    latent, restore = torch.randn(2, 5, 48), torch.rand(2, 16).argsort(dim=1)
    x = decoder.decoder_embed(latent)
    x_ = torch.cat([x[:, 1:], decoder.mask_token.expand(2, 12, -1)], dim=1)
    x_ = x_.gather(1, restore[..., None].expand(-1, -1, 32))
    x = torch.cat([x[:, :1], x_], dim=1) + decoder.decoder_pos_embed
    for layer in decoder.decoder_blocks:
        x = layer(x)
    expected = decoder.decoder_pred(decoder.decoder_norm(x))[:, 1:]
    assert_close(stock.neck(latent, restore), expected)
