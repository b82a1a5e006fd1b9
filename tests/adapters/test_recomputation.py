"""Activation checkpointing gives the gradients of both domains."""

import pytest
import torch
from helpers import hosts
from mmpretrain.registry import MODELS
from torch import nn

from aemim_mm.adapters import recompute, split_adapters
from aemim_mm.errors import UserError

KINDS = ['norm', dict(type='lora', rank=2), dict(type='bottleneck', width=4)]


def mae(tiny, with_cp):
    kinds = ['cls_token', *KINDS, dict(type='prompt', tokens=2)]
    return tiny.aemim(backbone=dict(adapters=kinds, with_cp=with_cp, drop_path_rate=0.2))


def swin(tiny, with_cp):
    return tiny.aesimmim(adapters=KINDS, backbone=dict(with_cp=with_cp))


def mixmim(tiny, with_cp):
    return hosts.adversarial('MixMIM', None, backbone=dict(use_checkpoint=with_cp))


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
@pytest.mark.parametrize('early_backward', [True, False])
@pytest.mark.parametrize('make', [mae, swin, mixmim])
def test_recomputed_gradients_are_equal_in_both_domains(tiny, make, early_backward):
    found = []
    for with_cp in (False, True):
        config = make(tiny, with_cp)
        model = tiny.build(dict(config, early_backward=early_backward))
        tiny.part_domains(model)
        hosts.seeded()
        images = tiny.images(model, size=(128, 128) if make is mixmim else (32, 32))
        calls = []
        attention = next(part for part in model.backbone.modules() if hasattr(part, 'qkv'))
        attention.qkv.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        losses = model.loss(images, tiny.mask_samples())
        model.parse_losses(losses)[0].backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
        found.append((losses, gradients, len(calls)))
    (losses, gradients, calls), (again, recomputed, more) = found
    assert calls == 4 and more == 8, 'each pass was recomputed'
    for name, value in {**losses, **gradients}.items():
        torch.testing.assert_close({**again, **recomputed}[name], value, rtol=1e-6, atol=1e-6)
    assert any(name.endswith('_adv') for name in gradients)


def test_what_cannot_be_recomputed_is_refused():
    model = MODELS.build(dict(type='ResNet', depth=18, with_cp=True))
    with pytest.raises(UserError, match='BasicBlock cannot recompute .* Set with_cp=False'):
        split_adapters(model)
    recompute([nn.Linear(2, 2)])
