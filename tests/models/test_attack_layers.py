"""Attacks on the encoder's first layers."""

from copy import deepcopy

import pytest
import torch
from helpers import hosts
from torch import nn

from aemim_mm import Domain, use_domain
from aemim_mm.errors import UserError
from aemim_mm.models.algorithms.construction import name_of_layer

GRIDS = dict(aemim=(4, 4), aesimmim=(8, 8), aesimmim_vit=(4, 4))


def build(tiny, algorithm='aemim', **changes):
    config = getattr(tiny, algorithm)(**changes)
    model = tiny.build(tiny.merged(config, dict(backbone=dict(drop_path_rate=0.0))))
    tiny.part_domains(model)
    return model, tiny.images(model), tiny.mask_samples(grid=GRIDS[algorithm])


def calls_of_layers(model):
    """Return a dict that counts the calls of each layer from now on, by its path."""
    counts = {}
    for name, module in model.backbone.named_modules():
        if name.startswith(('layers.', 'stages.')) and name.rpartition('.')[2].isdigit() and 'ffn' not in name:
            counts[name] = 0
            module.register_forward_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    return counts


@pytest.mark.parametrize(
    ('algorithm', 'layers', 'run', 'rest'),
    [
        ('aemim', 1, ['layers.0'], ['layers.1']),
        ('aesimmim_vit', 1, ['layers.0'], ['layers.1']),
        ('aesimmim', 1, ['stages.0.blocks.0'], ['stages.0.blocks.1', 'stages.1.blocks.0', 'stages.1.blocks.1']),
        ('aesimmim', 3, ['stages.0.blocks.1', 'stages.1.blocks.0'], ['stages.1.blocks.1']),
    ],
)
@pytest.mark.parametrize(('attack_mask', 'more'), [('same', 0), ('resampled', 3), ('none', 2)])
@pytest.mark.parametrize('share', [1, 0.5])
def test_the_attack_runs_the_first_layers_only(tiny, algorithm, layers, run, rest, attack_mask, more, share):
    """Clean pass, adversarial pass; two steps, the clean features of a share, and what the mask of the attack needs."""
    model, images, samples = build(tiny, algorithm, attack_layers=layers, attack_mask=attack_mask, adv_share=share)
    counts = calls_of_layers(model)
    losses = model.loss(images, samples)
    expected = 2 + 2 + (share < 1) + (more and more + (attack_mask == 'resampled'))
    assert {counts[name] for name in run} == {expected}
    assert {counts[name] for name in rest} == {2}
    model.parse_losses(losses)[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def attack_by_hand(model, images):
    """Two signed steps on the distance of the first layer's tokens, by an encoder of that layer alone."""
    encoder = deepcopy(model.backbone)
    encoder.layers, encoder.ln1 = encoder.layers[:1], nn.Identity()
    processor = model.data_preprocessor
    eps, step = (pixels / processor.std for pixels in (processor.eps, processor.step_size))
    edges = (processor.normalize(images.new_tensor(edge)) for edge in (0.0, 255.0))
    low, high = next(edges), next(edges)
    low, high = torch.maximum(low, images - eps), torch.minimum(high, images + eps)

    def tokens(x, domain):
        torch.manual_seed(11)
        with use_domain(encoder, domain):
            return encoder(x)[0]

    target, values = tokens(images, Domain.CLEAN).detach(), []
    x_adv = torch.clamp(images + (torch.rand(images.shape) * 2 - 1) * eps, low, high)
    for _ in range(2):
        x_adv.requires_grad_(True)
        values.append((tokens(x_adv, Domain.ADV) - target).square().sum())
        gradient = torch.autograd.grad(values[-1], x_adv)[0]
        x_adv = torch.clamp(x_adv.detach() + step * gradient.sign(), low, high)
    return x_adv, [*values, (tokens(x_adv, Domain.ADV) - target).square().sum()]


def test_the_attack_and_its_log_equal_an_attack_on_a_shorter_encoder(tiny):
    model, images, _ = build(tiny, attack_layers=1)
    torch.manual_seed(11)
    passes = model.two_passes(images, None)
    x_adv, values = attack_by_hand(model, images)
    torch.testing.assert_close(passes.attack.x_adv, x_adv)
    start, _, end = (value.item() / len(images) for value in values)
    log = passes.attack.log()
    assert [log[f'attack_{name}'].item() for name in ('start', 'end', 'gain')] == pytest.approx(
        [start, end, end / start]
    )


def test_the_default_is_the_whole_encoder_as_ever(tiny):
    """The values are of the code before attack_layers existed."""
    model, images, _ = build(tiny)
    torch.manual_seed(3)
    losses = model.loss(images, None)
    assert losses['loss_clean'].item() == pytest.approx(1.2656978, rel=1e-5)
    assert losses['loss_adv'].item() == pytest.approx(1.5919915, rel=1e-5)
    assert losses['attack_start'].item() == pytest.approx(15.762411, rel=1e-4)
    assert losses['attack_end'].item() == pytest.approx(22.859867, rel=1e-4)
    model.parse_losses(losses)[0].backward()
    gradients = sum(value.grad.abs().sum().item() for value in model.parameters() if value.requires_grad)
    assert gradients == pytest.approx(110.39, rel=1e-4)


@pytest.mark.parametrize('algorithm', sorted(GRIDS))
def test_the_final_features_move_further_than_by_noise_of_the_same_size(tiny, algorithm):
    model, images, samples = build(tiny, algorithm, attack_layers=1)
    perturb, distances = model.data_preprocessor.perturb, []

    def noise(inputs, objective, **kwargs):
        directions = torch.randn_like(inputs)
        return perturb(inputs, lambda x: (x * directions).sum(), **kwargs)

    for method in (perturb, noise):
        model.data_preprocessor.perturb = method
        torch.manual_seed(11)
        passes = model.two_passes(images, samples)
        with torch.no_grad(), use_domain(model, Domain.ADV):
            ends = [model.features(one.call.output) for one in (passes.adv, passes.adv.again(images))]
        distances.append(model.distance(*ends).item())
    assert distances[0] > 1.2 * distances[1]


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
@pytest.mark.parametrize('name', [name for name in hosts.HOSTS if not name.startswith('SparK')])
def test_the_features_of_every_image_are_attacked_on_every_method(name, tmp_path):
    clip = hosts.write_clip(tmp_path / 'clip.pth') if name in hosts.NEEDS_CLIP else None
    model = hosts.build(hosts.adversarial(name, clip, attack_layers=1))
    step = model.two_passes(**hosts.batch(name, model))
    assert len(step.attack.objective.target) == len(step.clean.images)
    assert step.attack.values[-1] > step.attack.values[0]


@pytest.mark.parametrize('number', [0, 3, -1, True, 1.5, '1', [1]])
def test_a_bad_number_of_layers_is_a_clear_error(tiny, number):
    with pytest.raises(UserError, match='attack_layers is a number of layers of the encoder, from 1 to 2, but got'):
        tiny.build(tiny.aemim(attack_layers=number))


def test_an_encoder_without_layers_is_a_clear_error():
    for encoder in (nn.Linear(2, 2), nn.Sequential()):
        with pytest.raises(UserError, match=f'ViT or a Swin Transformer, but got a {type(encoder).__name__}'):
            name_of_layer(encoder, 1)
        assert name_of_layer(encoder, None) == ''
