"""The backbone equals mmpretrain's ViT, the pyramid plain functions, and layer decay a computation by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.models import SwinTransformer, VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import nn

from aemim_mm import AEMIMViT
from aemim_mm.det import SimpleFeaturePyramid, ViTDet
from aemim_mm.errors import UserError

ARCH = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96)
ALL_GLOBAL = dict(ARCH, global_attn_indexes=[0, 1, 2])


def make(model, seed=0):
    """Set every parameter to random values, also those that start at zero."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.eval()  # train() of mmpretrain's backbones returns nothing.
    return model


@pytest.fixture
def images():
    torch.manual_seed(7)
    return torch.randn(2, 3, 64, 64)


@pytest.fixture
def checkpoint(tmp_path):
    """An AEMIM encoder for 64 pixels, as in a checkpoint of a pre-training."""
    encoder = make(AEMIMViT(arch=ARCH, img_size=64, patch_size=16))
    path = tmp_path / 'encoder.pth'
    torch.save(dict(state_dict={f'backbone.{name}': value for name, value in encoder.state_dict().items()}), path)
    return encoder, str(path)


def build(checkpoint, **kwargs):
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(dict(type='ViTDet', patch_size=16, init_cfg=init_cfg, **kwargs))
        model.init_weights()
    return model


def test_with_global_attention_it_is_a_plain_vit(images):
    plain = make(
        VisionTransformer(
            arch=ARCH, img_size=64, patch_size=16, with_cls_token=False, out_type='featmap', final_norm=False
        )
    )
    model = ViTDet(arch=ALL_GLOBAL, img_size=64, patch_size=16)
    state = {name: value for name, value in plain.state_dict().items() if not name.startswith('ln1')}
    state['pos_embed'] = state['pos_embed'].reshape(1, 4, 4, 48)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == [] and all('rel_pos' in name for name in missing)
    torch.testing.assert_close(model(images)[0], plain(images)[0], atol=1e-5, rtol=0)


def test_windows_do_not_see_each_other(images):
    model = make(ViTDet(arch=dict(ARCH, global_attn_indexes=[]), img_size=64, patch_size=16, window_size=2))
    changed = images.clone()
    changed[..., :32, :32] += 1
    difference = (model(changed)[0] - model(images)[0]).abs().amax((0, 1))
    assert (difference[:2, :2] > 1e-3).all() and (difference[2:] == 0).all() and (difference[:, 2:] == 0).all()


@pytest.mark.parametrize('size', [64, (128, 96)])
def test_it_starts_from_a_checkpoint_of_pre_training(checkpoint, size, caplog):
    encoder, path = checkpoint
    model = build(path, arch=ALL_GLOBAL, img_size=size)
    state, source = model.state_dict(), encoder.state_dict()
    same = [name for name in state if 'rel_pos' not in name and name != 'pos_embed']
    assert len(same) == 2 + 3 * 12
    for name in same:
        assert torch.equal(state[name], source[name]), name
    assert all((state[name] == 0).all() for name in state if 'rel_pos' in name)
    rows, columns = model.patch_resolution
    expected = resize_pos_embed(encoder.pos_embed, (4, 4), (rows, columns))[:, 1:].reshape(1, rows, columns, 48)
    torch.testing.assert_close(state['pos_embed'], expected.detach(), atol=1e-6, rtol=0)


def test_positions_of_no_square_are_refused(checkpoint, tmp_path):
    state = {f'backbone.{name}': value for name, value in AEMIMViT(ARCH, img_size=(64, 32)).state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'oblong.pth')
    with pytest.raises(UserError, match='8 patches, which is no square, and this model has 4x4'):
        build(str(tmp_path / 'oblong.pth'), arch=ALL_GLOBAL, img_size=64)
    assert torch.equal(
        build(str(tmp_path / 'oblong.pth'), arch=ALL_GLOBAL, img_size=(64, 32)).pos_embed.flatten(1, 2),
        state['backbone.pos_embed'][:, 1:],
    )


def test_recomputation_changes_no_gradient(images):
    gradients = []
    for with_cp in (False, True):
        model = make(ViTDet(arch=dict(ARCH, global_attn_indexes=[1]), img_size=64, window_size=3, with_cp=with_cp))
        model.train()
        model(images)[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients):
        torch.testing.assert_close(recomputed, plain)


def test_drop_path_skips_the_whole_layer(images):
    model = make(ViTDet(arch=ALL_GLOBAL, img_size=64))
    embedded = model.patch_embed(images)[0].unflatten(1, (4, 4)) + model.pos_embed
    for layer in model.layers:
        layer.ffn.dropout_layer.drop_prob = 1 - 1e-6
    assert not torch.allclose(model(images)[0], embedded.permute(0, 3, 1, 2))
    model.train()
    torch.testing.assert_close(model(images)[0], embedded.permute(0, 3, 1, 2))


def test_an_image_smaller_than_a_patch():
    with pytest.raises(UserError, match='An image of 64x12 pixels is smaller than a patch of 16x16'):
        ViTDet(arch=ALL_GLOBAL, img_size=64)(torch.zeros(1, 3, 64, 12))


def test_the_pyramid_is_the_papers():
    neck = make(SimpleFeaturePyramid(16, out_channels=8, num_outs=5))
    torch.manual_seed(1)
    features = torch.randn(2, 16, 6, 4)

    def norm(x, layer):
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], layer.weight, layer.bias, 1e-6).permute(0, 3, 1, 2)

    first, between, _, second = neck.scales[0]
    quarter = F.conv_transpose2d(features, first.weight, first.bias, stride=2)
    quarter = F.conv_transpose2d(F.gelu(norm(quarter, between)), second.weight, second.bias, stride=2)
    half = F.conv_transpose2d(features, neck.scales[1].weight, neck.scales[1].bias, stride=2)
    expected = []
    for x, (reduce, smooth) in zip((quarter, half, features, F.max_pool2d(features, 2)), neck.outputs):
        assert reduce.conv.bias is None and smooth.conv.bias is None
        x = norm(F.conv2d(x, reduce.conv.weight), reduce.norm)
        expected.append(norm(F.conv2d(x, smooth.conv.weight, padding=1), smooth.norm))
    expected.append(expected[-1][..., ::2, ::2])
    maps = neck((features,))
    assert [tuple(level.shape) for level in maps] == [
        (2, 8, *size) for size in [(24, 16), (12, 8), (6, 4), (3, 2), (2, 1)]
    ]
    for level, right in zip(maps, expected):
        torch.testing.assert_close(level, right, atol=1e-5, rtol=1e-5)


def test_the_pyramid_is_in_float32_under_autocast():
    neck = SimpleFeaturePyramid(16, out_channels=8)
    with torch.autocast('cpu', torch.bfloat16):
        assert {level.dtype for level in neck((torch.randn(1, 16, 4, 4),))} == {torch.float32}


class Detector(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.neck = SimpleFeaturePyramid(48, out_channels=8)


OPTIMIZER = dict(
    type='OptimWrapper',
    constructor='BackboneLayerDecayConstructor',
    optimizer=dict(type='AdamW', lr=2.0, weight_decay=0.5),
    paramwise_cfg=dict(
        layer_decay_rate=0.5,
        norm_decay_mult=0.0,
        custom_keys={'pos_embed': dict(decay_mult=0.0), 'rel_pos_': dict(decay_mult=0.0)},
    ),
)


def groups_of(model):
    with DefaultScope.overwrite_default_scope('mmdet'):
        groups = build_optim_wrapper(model, OPTIMIZER).optimizer.param_groups
    return {group['param_name']: group for group in groups if 'param_name' in group}


def test_layer_decay_in_a_detector():
    model = Detector(ViTDet(arch=ALL_GLOBAL, img_size=64))
    groups = groups_of(model)
    assert groups.keys() == {name for name, _ in model.named_parameters()}
    for name, group in groups.items():
        depth = {'patch_embed': 0, 'pos_embed': 0}.get(name.split('.')[1], 4)
        if name.startswith('backbone.layers.'):
            depth = 1 + int(name.split('.')[2])
        if name.startswith('neck.'):
            depth = 4
        assert group['lr'] == pytest.approx(2.0 * 0.5 ** (4 - depth)), name
        exempt = 'pos' in name or 'ln' in name.split('.')[-2] or '.scales.0.1.' in name
        assert group['weight_decay'] == (0.0 if exempt else 0.5), name


def test_layer_decay_with_a_swin_and_without_depths():
    swin = SwinTransformer(arch=dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 3, 4]), img_size=64)
    rates = {name: group['lr'] for name, group in groups_of(Detector(swin)).items()}
    assert rates['backbone.patch_embed.projection.weight'] == 2.0 * 0.5**6
    assert rates['backbone.stages.0.blocks.0.ffn.layers.1.bias'] == 2.0 * 0.5**5
    assert rates['backbone.stages.3.blocks.0.ffn.layers.1.bias'] == 2.0 * 0.5
    assert rates['neck.scales.1.weight'] == 2.0
    with pytest.raises(UserError, match='Layer decay needs a backbone with get_layer_depth, but got Linear'):
        groups_of(Detector(nn.Linear(2, 2)))
