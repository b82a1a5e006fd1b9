"""Objectives and algorithms of the attack in training."""

import pytest
import torch

from aemim_mm import Domain, use_domain
from aemim_mm.errors import UserError

ATTACKS = {
    'FGSM': dict(steps=1, start='zero', step_size=4.0),
    'MI-FGSM': dict(steps=3, momentum=1.0),
    'halving': dict(steps=4, step_size=4.0, halving=True),
    'L2': dict(norm='l2', eps=0.5, steps=3),
    'L2, halving': dict(norm='l2', eps=0.5, steps=3, halving=True),
}


def step(tiny, seed=11, attack=None, **changes):
    model = tiny.build(tiny.aemim(data_preprocessor=dict(dict(eps=4), **attack or {}), **changes))
    tiny.part_domains(model)
    images = tiny.images(model)
    torch.manual_seed(seed)
    return model, images, model.two_passes(images, None)


@pytest.mark.parametrize('objective', ['features', 'pooled'])
@pytest.mark.parametrize('name', ATTACKS)
def test_every_attack_moves_features_further_than_noise_within_its_budget(tiny, name, objective):
    model, images, passes = step(tiny, attack=ATTACKS[name], attack_objective=objective)
    processor, delta = model.data_preprocessor, passes.adv.images - images
    pixels = delta * processor.std
    if processor.norm == 'l2':
        sizes = pixels.flatten(1).norm(dim=1) / 255
        assert (sizes <= processor.eps + 1e-4).all() and (sizes > processor.eps / 4).all()
    else:
        assert pixels.abs().max() <= processor.eps + 1e-4
    noise = torch.randn_like(pixels).sign()
    size = pixels.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
    noise = images + noise * size.view(-1, 1, 1, 1) / processor.std
    with torch.no_grad(), use_domain(model, Domain.ADV):
        objective = passes.attack.objective
        end = objective(passes.adv.images).sum()
        assert end > 1.2 * objective(noise).sum()
    log = passes.attack.log()
    assert all(value.dim() == 0 for value in log.values())
    assert log['attack_end'] == pytest.approx(end.item() / len(images), rel=1e-3)


def test_halving_never_ends_below_a_plain_start(tiny):
    _, _, passes = step(tiny, attack=dict(ATTACKS['halving'], steps=6))
    assert passes.attack.log()['attack_gain'] >= 1


def test_the_reconstruction_objective_is_the_adversarial_loss(tiny):
    model, images, passes = step(tiny, attack_objective='reconstruction')
    assert passes.attack.log()['attack_end'].item() == pytest.approx(passes.adv.loss.item(), rel=1e-6)
    _, _, of_features = step(tiny)
    assert passes.adv.loss > of_features.adv.loss > 0
    # The attack is a gradient step on the loss of the same pass.
    again = passes.clean.again
    x = images.clone().requires_grad_(True)
    with use_domain(model, Domain.ADV):
        (slope,) = torch.autograd.grad(again(x).loss, x)
    assert slope.any()
    losses = model.loss(images, None)
    model.parse_losses(losses)[0].backward()
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
def test_the_reconstruction_objective_works_for_a_share_and_for_simmim(tiny, adv_target):
    changes = dict(attack_objective='reconstruction', adv_share=0.5, adv_target=adv_target)
    for config, samples in ((tiny.aemim(**changes), None), (tiny.aesimmim(**changes), tiny.mask_samples())):
        model = tiny.build(config)
        before = tiny.snapshot(model)
        losses = model.loss(tiny.images(model), samples)
        tiny.assert_same_snapshot({k: v for k, v in tiny.snapshot(model).items() if not k.startswith('grad')},
                                  {k: v for k, v in before.items() if not k.startswith('grad')})  # fmt: skip
        assert losses['attack_end'] > losses['attack_start']


@pytest.mark.parametrize(
    'changes', [dict(attack_layers=1), dict(attack_mask='none'), dict(data_preprocessor=dict(halving=True))]
)
def test_what_the_reconstruction_objective_cannot_do_is_refused(tiny, changes):
    with pytest.raises(UserError, match='Leave out attack_layers, attack_mask and the data preprocessor'):
        tiny.build(tiny.aemim(attack_objective='reconstruction', **changes))


@pytest.mark.parametrize(
    ('attack', 'message'),
    [
        (dict(norm='l1'), "norm 'l1'. Known: l2, linf"),
        (dict(momentum=-1), 'momentum is >= 0'),
        (dict(norm='l2', eps=-1), 'eps in L2 is in units of images from 0 to 1'),
    ],
)
def test_a_bad_attack_is_one_clear_error(tiny, attack, message):
    with pytest.raises(UserError, match=message):
        tiny.build(tiny.aemim(data_preprocessor=attack))
