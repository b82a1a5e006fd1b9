"""AEMIM on MIMIR: it attacks MIMIR's adversarial examples, and both passes reconstruct the clean images."""

import pytest
import torch
from helpers import hosts, tiny
from mmengine.config import Config

from aemim_mm import load_encoder
from aemim_mm.errors import UserError
from aemim_mm.replay import recorded_calls
from aemim_mm.visualization.reconstruction import reconstruct


def config(attack=None, **changes):
    attack = dict(dict(eps=4, steps=2, step_size=2), **attack or {})
    return tiny.mimir(type='AEMIMIR', data_preprocessor=attack, **changes)


def test_the_clean_pass_is_one_step_of_mimir():
    stock = tiny.build(tiny.mimir(data_preprocessor=dict(eps=4, steps=2, step_size=2)))
    model, images, losses = tiny.matched(config(), stock), tiny.images(stock), []
    for one in (stock, model):
        torch.manual_seed(3)
        losses.append(one.loss(images, None))
    assert torch.equal(losses[1]['loss_clean'], hosts.total(losses[0]))
    assert losses[1]['attack_end'] > 1.5 * losses[1]['attack_start']
    model.parse_losses(losses[1])[0].backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None and bool(value.grad.any())) == value.requires_grad, name


def test_the_attack_starts_from_the_examples_and_the_target_is_clean():
    model = tiny.build(config())
    images, targets, loss = tiny.images(model), [], model.head.loss
    model.head.loss = lambda pred, target, mask: (targets.append(target), loss(pred, target, mask))[1]
    with recorded_calls(model.backbone) as calls:
        step = model.two_passes(images, None)
    examples, x_adv = step.clean.images, step.adv.images
    assert calls[2].args[0] is examples and calls[5].args[0] is x_adv and len(calls) == 6
    for one, other in ((images, examples), (examples, x_adv)):
        pixels = model.data_preprocessor.denormalize(other) - model.data_preprocessor.denormalize(one)
        assert 3.9 < pixels.abs().max() < 4.001
    masks = [call.output[1] for call in calls]
    assert all(torch.equal(mask, masks[2]) for mask in masks[3:])
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])
    # In MIMIR's own attack, the target moves with the image; then it is the clean image.
    assert all(target is images for target in targets[2:]) and len(targets) == 4


def test_without_a_budget_both_passes_are_equal():
    model = tiny.build(config(attack=dict(eps=0, start='zero')))
    losses = model.loss(tiny.images(model), None)
    assert losses['loss_adv'].item() == pytest.approx(losses['loss_clean'].item(), rel=1e-6)


def test_panels_show_it():
    model = tiny.build(config(head=dict(type='AEMIMHead')))
    images = tiny.images(model)
    assert all(pictures.pred.shape == images.shape for pictures in reconstruct(model, images).values())


def test_the_encoder_is_read(tmp_path):
    model = tiny.build(config())
    meta = dict(cfg=Config(dict(model=config(), default_scope='mmpretrain')).pretty_text, mmengine_version='0.10.7')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.eval().extract_feat(images)[-1][:, 0]
    torch.testing.assert_close(load_encoder(tmp_path / 'a.pth')(images), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('changes', [dict(adv_target='adv'), dict(adv_share=0.5)])
def test_other_targets_and_shares_are_refused(changes):
    with pytest.raises(UserError, match='adv_target is clean and adv_share 1, but got'):
        tiny.build(config(**changes))
