"""The images that the attack sees, the objective that it maximises, and the figures that are logged."""

import numpy as np
import pytest
import torch

from aemim_mm import Domain, use_domain
from aemim_mm.attacks import feature_distance
from aemim_mm.replay import recorded_calls


def step(tiny, seed=11, **changes):
    """Run one step with unequal domains; return the model, images, encoder calls, attacked images and passes."""
    model = tiny.build(tiny.aemim(**changes))
    tiny.part_domains(model)
    images, seen = tiny.images(model), []
    perturb = model.data_preprocessor.perturb

    def spy(inputs, objective, **kwargs):
        def seen_objective(x):
            seen.append(x.detach().clone())
            return objective(x)

        return perturb(inputs, seen_objective, **kwargs)

    model.data_preprocessor.perturb = spy
    torch.manual_seed(seed)
    with recorded_calls(model.backbone) as calls:
        passes = model.two_passes(images, None)
    return model, images, calls, seen, passes


def hidden_pixels(call):
    mask = call.output[1].view(-1, 1, 4, 4).bool()
    return mask.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(-1, 3, -1, -1)


def encode(model, x, domain, seed=11, mask=True):
    """Compute the encoder's features. The mask takes the first random numbers after the seed."""
    torch.manual_seed(seed)
    with torch.no_grad(), use_domain(model, domain):
        return model.backbone(x, mask=mask)[0]


@pytest.mark.parametrize('mask_ratio', [0.5, 0.75])
def test_with_the_same_mask_hidden_patches_get_no_gradient(tiny, mask_ratio):
    _, _, _, _, passes = step(tiny, backbone=dict(mask_ratio=mask_ratio))
    assert passes.attack.log()['attack_zero_grad'] == mask_ratio


def test_with_the_same_mask_hidden_patches_differ_by_the_random_start_only(tiny):
    _, images, calls, seen, passes = step(tiny)
    hidden = hidden_pixels(calls[0])
    assert torch.equal(passes.attack.x_adv[hidden], seen[0][hidden])
    assert not torch.equal(passes.attack.x_adv[hidden], images[hidden])
    assert (passes.attack.x_adv != seen[0])[~hidden].float().mean() > 0.8


def test_with_the_same_mask_and_start_zero_hidden_patches_stay(tiny):
    _, images, calls, _, passes = step(tiny, data_preprocessor=dict(start='zero'))
    hidden = hidden_pixels(calls[0])
    assert torch.equal(passes.attack.x_adv[hidden], images[hidden])
    assert (passes.attack.x_adv != images)[~hidden].float().mean() > 0.8


def test_without_a_mask_all_patches_get_a_gradient(tiny):
    _, images, calls, seen, passes = step(tiny, attack_mask='none')
    assert passes.attack.log()['attack_zero_grad'] < 0.01
    hidden = hidden_pixels(calls[0])
    assert (passes.attack.x_adv != seen[0])[hidden].float().mean() > 0.8


def test_all_passes_see_the_same_mask(tiny):
    _, _, calls, _, _ = step(tiny)
    assert len(calls) == 1 + 2 + 1
    assert all(torch.equal(call.output[1], calls[0].output[1]) for call in calls)


def test_resampled_masks_differ_at_each_step_but_not_from_their_target(tiny):
    _, images, calls, _, passes = step(tiny, attack_mask='resampled')
    adv = passes.adv.call.output[1]
    clean, *calls = [call for call in calls if call.output[1] is not adv]
    masks = [call.output[1] for call in calls]
    clean = clean.output[1]
    assert torch.equal(clean, adv)
    targets, tries = masks[::2], masks[1::2]
    assert len(targets) == len(tries) == 2 + 1  # Two steps and the end.
    assert all(torch.equal(target, attempt) for target, attempt in zip(targets, tries))
    different = [clean, *targets]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])
    # Clean images give the target; perturbed images are compared with it.
    assert all(torch.equal(call.args[0], images) for call in calls[::2])
    assert not any(torch.equal(call.args[0], images) for call in calls[1::2])


def test_resampled_masks_of_simmim_are_those_of_other_images(tiny):
    model, samples = tiny.build(tiny.aesimmim(attack_mask='resampled')), tiny.mask_samples()
    with recorded_calls(model.backbone) as calls:
        passes = model.two_passes(tiny.images(model), samples)
    masks = torch.stack([sample.mask for sample in samples])
    orders = []
    for call in calls[1:]:
        if call.output is passes.adv.call.output:
            continue
        orders.append([next(j for j in range(4) if torch.equal(mask, masks[j])) for mask in call.args[1]])
        assert sorted(orders[-1]) == [0, 1, 2, 3]
    assert orders[::2] == orders[1::2] and len(set(map(tuple, orders))) > 1
    assert torch.equal(passes.adv.call.args[1], masks)


ORACLES = {
    'l2': lambda a, b: ((a - b) ** 2).sum(),
    'l1': lambda a, b: np.abs(a - b).sum(),
    'cosine': lambda a, b: (1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).sum(),
}


@pytest.mark.parametrize('attack_mask', ['same', 'none'])
@pytest.mark.parametrize('distance', sorted(ORACLES))
def test_start_and_end_are_distances_per_image_between_the_two_domains(tiny, distance, attack_mask):
    model, images, _, seen, passes = step(tiny, distance=distance, attack_mask=attack_mask)
    mask = True if attack_mask == 'same' else None
    target = encode(model, images, Domain.CLEAN, mask=mask)
    for name, x in (('attack_start', seen[0]), ('attack_end', passes.attack.x_adv)):
        expected = ORACLES[distance](encode(model, x, Domain.ADV, mask=mask).numpy(), target.numpy()) / len(images)
        np.testing.assert_allclose(passes.attack.log()[name], expected, rtol=1e-4)
    assert passes.attack.log()['attack_gain'] == passes.attack.log()['attack_end'] / passes.attack.log()['attack_start']
    assert passes.attack.log()['attack_gain'] > 1


def test_dropout_is_the_same_in_all_passes(tiny):
    """With equal domains and equal images, the distance is zero only if the dropout is the same."""
    model = tiny.build(tiny.aemim(backbone=dict(drop_rate=0.5, drop_path_rate=0.5), data_preprocessor=dict(eps=0)))
    assert model.loss(tiny.images(model), None)['attack_end'] == 0


@pytest.mark.parametrize('distance', ['l2', 'l1', 'cosine', 'kl'])
@pytest.mark.parametrize('algorithm', ['aemim', 'aesimmim', 'aesimmim_vit'])
def test_the_attack_beats_random_noise_of_the_same_size(tiny, algorithm, distance):
    config = getattr(tiny, algorithm)(distance=distance)
    model = tiny.build(tiny.merged(config, dict(backbone=dict(drop_path_rate=0.0))))
    images, samples = tiny.images(model), tiny.mask_samples(grid=(8, 8) if algorithm == 'aesimmim' else (4, 4))
    torch.manual_seed(11)
    attacked = model.loss(images, samples)['attack_end']
    std = model.data_preprocessor.std
    for noise in (torch.rand_like(images) * 4 - 2, torch.randn_like(images).sign() * 2):
        model.data_preprocessor.perturb = lambda inputs, *_, noise=noise, **__: inputs + noise / std
        torch.manual_seed(11)
        assert attacked > 1.5 * model.loss(images, samples)['attack_end']


def test_diagnostics_are_kept_out_of_the_loss(tiny):
    model = tiny.build(tiny.aemim())
    losses = model.loss(tiny.images(model), None)
    assert {name for name in losses if 'loss' in name} == {'loss_clean', 'loss_adv'}
    assert {name for name in losses if 'loss' not in name} == {
        'attack_start',
        'attack_end',
        'attack_gain',
        'attack_zero_grad',
    }
    total, logged = model.parse_losses(losses)
    torch.testing.assert_close(total, losses['loss_clean'] + losses['loss_adv'])
    assert {'attack_end', 'loss_adv'} <= set(logged)


def test_the_paper_s_distance_is_the_default(tiny):
    model = tiny.build(tiny.aemim())
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert model.distance(a, b) == feature_distance('l2')(a, b) == (a - b).square().sum()
