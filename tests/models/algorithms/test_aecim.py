"""AEMIM on CIM: one corruption, which every pass perturbs."""

import pytest
import torch
import torch.nn.functional as F
from helpers import cim, hosts, tiny

from aemim_mm.errors import UserError
from aemim_mm.models.baselines.cim_heads import local_normalize
from aemim_mm.models.patches import patchify
from aemim_mm.replay import recorded_calls


def build(make=cim.cim, attack=None, **changes):
    preprocessor = dict(type='AdvDataPreprocessor', **attack or {})
    return cim.build(make(type='AECIM', data_preprocessor=preprocessor, **changes))


def two_passes(model):
    """Run both passes, and return the step, the encoder's calls and the corruption."""
    images = cim.images(model)
    hosts.seeded()
    with recorded_calls(model.backbone) as encoder, recorded_calls(model.target_generator) as corrupter:
        step = model.two_passes(images, None)
    return images, step, encoder, corrupter[0].output


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
@pytest.mark.parametrize('make', [cim.cim, cim.revdet])
def test_without_a_budget_both_passes_give_the_loss_of_the_encoder(make, adv_target):
    model = build(make, dict(eps=0, start='zero'), adv_target=adv_target)
    _, step, _, corruption = two_passes(model)
    expected = step.clean.loss - model.generator_loss(corruption)
    assert step.adv.loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_encoder_sees_one_corruption_with_the_perturbation_of_the_image():
    model = build(attack=dict(eps=32, step_size=16))
    images, step, encoder, corruption = two_passes(model)
    assert len(encoder) == 4 and torch.equal(encoder[0].args[0], corruption.images)
    space, seen = model.data_preprocessor, encoder[-1].args[0]
    delta = (step.attack.x_adv - images) * space.std
    assert 31.9 < delta.abs().max() < 32.1
    expected = (space.denormalize(corruption.images) + delta).clamp(0, 255)
    torch.testing.assert_close(space.denormalize(seen), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
def test_the_pixels_to_recover_are_those_of_the_target(adv_target):
    model = build(attack=dict(eps=32, step_size=16), adv_target=adv_target)
    with recorded_calls(model.head) as heads:
        images, step, _, corruption = two_passes(model)
    pred = heads[-1].output
    wanted = images if adv_target == 'clean' else step.attack.x_adv
    target = F.mse_loss(pred, patchify(local_normalize(wanted, 5), 16))
    assert step.adv.loss.item() == pytest.approx(target.item(), rel=1e-5)


def test_the_generator_learns_in_the_clean_pass_alone():
    model = build(early_backward=False)
    assert not [name for name, _ in model.generator.named_parameters() if name.endswith('_adv')]
    with recorded_calls(model.generator) as calls:
        losses = model.loss(cim.images(model), None)
    assert len(calls) == 1
    parameters = list(model.generator.parameters())
    assert all(gradient is None for gradient in torch.autograd.grad(losses['loss_adv'], parameters, allow_unused=True,
                                                                    retain_graph=True))  # fmt: skip
    assert all(gradient.any() for gradient in torch.autograd.grad(losses['loss_clean'], parameters))


def test_norms_of_the_generator_are_no_decoder():
    with pytest.raises(UserError, match='Nothing to adapt in ModuleDict with adapters'):
        build(decoder='split_norm')


def test_a_corruption_is_not_drawn_again():
    with pytest.raises(UserError, match="attack_mask is 'same' or 'none' for CIM, but got 'resampled'"):
        build(attack_mask='resampled')


def test_the_whole_image_can_be_attacked():
    model = build(attack_mask='none')
    images, step, encoder, _ = two_passes(model)
    # The target of the attack is the encoder's view of the image itself.
    assert torch.equal(encoder[1].args[0], images)
    assert step.attack.values[-1] > 1.5 * step.attack.values[0]


def test_the_loss_of_the_enhancer_can_be_attacked():
    model = build(attack_objective='reconstruction')
    _, step, _, _ = two_passes(model)
    assert step.attack.values[-1] > step.attack.values[0] > 0


def test_drop_path_is_the_same_in_both_passes():
    """The corruption draws random numbers in the clean pass only, so it must not move the encoder's."""
    rate = dict(drop_path_rate=0.5)
    model = build(attack=dict(eps=0, start='zero'), backbone=rate, generator=dict(backbone=rate))
    _, step, _, _ = two_passes(model)
    torch.testing.assert_close(step.adv.features[0], step.clean.features[0])
    tiny_other = tiny.build(cim.cim(backbone=rate))
    hosts.seeded()
    first = tiny_other.loss(cim.images(tiny_other), None)['loss_enhancer']
    hosts.seeded(4)
    assert first != tiny_other.loss(cim.images(tiny_other), None)['loss_enhancer']
