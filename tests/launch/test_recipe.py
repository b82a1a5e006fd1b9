"""MAE's fine-tuning recipe: the rate and the decay of every parameter; adversarial adapters have no part in it."""

import re

import pytest
import torch
from helpers import runs
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from aemim_mm.errors import UserError
from aemim_mm.launch import load_config


def recipe(tiny, backbone='VisionTransformer', **changes):
    """The parameter groups by name, for the ImageNet config on a narrow network of 12 layers."""
    name = 'benchmarks/in1k/vit-base-p16_8xb128-coslr-100e_in1k.py'
    cfg = load_config(runs.CONFIGS / name)
    cfg.model.backbone.update(
        type=backbone, arch={**tiny.ARCH, 'num_layers': 12}, img_size=32, init_cfg=None, **changes
    )
    cfg.model.head.in_channels = 32
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
        return model, build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups


def expected_rate(name):
    """0.65 to the number of layers between a parameter and the head, as MAE's code counts: 12 layers, then the head."""
    layer = re.match(r'backbone\.layers\.(\d+)\.', name)
    if layer:
        return 0.65 ** (12 - int(layer[1]))
    stem = ('backbone.cls_token', 'backbone.pos_embed', 'backbone.patch_embed.')
    return 0.65**13 if name.startswith(stem) else 1.0


def test_rates_and_decay_of_the_recipe(tiny):
    model, groups = recipe(tiny)
    of = {id(group['params'][0]): group for group in groups}
    assert all(len(group['params']) == 1 for group in groups) and len(of) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        group = of[id(parameter)]
        assert '_adv' not in name
        assert group['lr'] == pytest.approx(2e-3 * expected_rate(name)), name
        exempt = parameter.ndim == 1 or name in ('backbone.cls_token', 'backbone.pos_embed')
        assert group['weight_decay'] == (0 if exempt else 0.05), name
    rates = {round(group['lr'], 12) for group in groups}
    assert rates == {round(2e-3 * 0.65**depth, 12) for depth in range(14)}


def test_an_adversarial_adapter_counts_as_deep_as_its_clean_twin(tiny):
    backbone = tiny.build(tiny.aemim()['backbone'])
    names = [f'backbone.{name}' for name, _ in backbone.named_parameters()]
    adapters = [name for name in names if name.endswith('_adv')]
    assert {'backbone.cls_token_adv', 'backbone.layers.1.ln2.weight_adv', 'backbone.ln1.bias_adv'} <= set(adapters)
    for name in adapters:
        clean = name.removesuffix('_adv')
        assert backbone.get_layer_depth(name, 'backbone.') == backbone.get_layer_depth(clean, 'backbone.'), name
    assert backbone.get_layer_depth('backbone.cls_token_adv', 'backbone.') == (0, 4)
    assert backbone.get_layer_depth('backbone.layers.1.ln2.weight_adv', 'backbone.') == (2, 4)


def test_the_pretraining_encoder_in_a_classifier_is_an_error_and_touches_nothing(tiny):
    model, _ = recipe(tiny, 'AEMIMViT')
    images = torch.zeros(2, 3, 32, 32)
    with pytest.raises(UserError, match="out_type='avg_featmap'(?s:.*)backbone.type='VisionTransformer'"):
        model.extract_feat(images)
    assert all(parameter.grad is None for parameter in model.parameters())
