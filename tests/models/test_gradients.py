"""Which loss reaches which weights, and that an attack changes no state."""

from copy import deepcopy

import pytest
import torch
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from torch import nn

from aemim_mm import Domain, use_domain
from aemim_mm.adapters import AdaptedLayer

ALGORITHMS = {'aemim': (4, 4), 'aesimmim': (8, 8), 'aesimmim_vit': (4, 4)}


def batch_of(tiny, model, algorithm):
    return tiny.images(model), tiny.mask_samples(grid=ALGORITHMS[algorithm])


def parts(model):
    """Sort trainable names: clean only, adversarial only, shared."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adv = {name for name in names if name.endswith('_adv')}
    clean = {name.removesuffix('_adv') for name in adv}
    assert adv and clean < names
    return clean, adv, names - clean - adv


def names_with_gradients(model, loss):
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(parameters, gradients) if gradient is not None}


@pytest.mark.parametrize('attack_mask', ['same', 'none'])
@pytest.mark.parametrize(
    ('algorithm', 'decoder'),
    [(algorithm, 'two_heads') for algorithm in ALGORITHMS]
    + [('aemim', 'shared'), ('aesimmim', 'shared'), ('aemim', 'split_norm')],
)
def test_each_loss_reaches_its_own_adapters_and_all_that_is_shared(tiny, algorithm, decoder, attack_mask):
    model = tiny.build(getattr(tiny, algorithm)(decoder=decoder, attack_mask=attack_mask))
    clean, adv, shared = parts(model)
    losses = model.loss(*batch_of(tiny, model, algorithm))
    assert names_with_gradients(model, losses['loss_clean']) == clean | shared
    assert names_with_gradients(model, losses['loss_adv']) == adv | shared
    diagnostics = [value for name, value in losses.items() if name.startswith('attack_')]
    assert not any(value.requires_grad for value in diagnostics)


def test_the_prediction_layers_belong_to_their_domains(tiny):
    clean, adv, _ = parts(tiny.build(tiny.aemim()))
    assert {'neck.decoder_pred.weight', 'backbone.cls_token', 'backbone.ln1.bias'} <= clean
    assert {'neck.decoder_pred.weight_adv', 'backbone.cls_token_adv', 'backbone.ln1.bias_adv'} <= adv


class TokenBatchNorm(nn.BatchNorm1d):
    """BatchNorm over tokens, (B, L, C)."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


@pytest.fixture
def model(tiny):
    """The backbone has a BatchNorm, a frozen layer, a layer in eval mode, and gradients of the last step."""
    backbone = tiny.build(tiny.aemim()['backbone'] | dict(adapters=()))
    backbone.layers[0].ln2 = TokenBatchNorm(32)
    backbone.layers[1].ln1 = TokenBatchNorm(32)
    model = tiny.build(tiny.aemim() | dict(backbone=backbone), init=False)
    first, second = model.backbone.layers
    assert isinstance(first.ln2, AdaptedLayer)
    first.attn.qkv.requires_grad_(False)
    second.eval()
    sum(value for name, value in model.loss(tiny.images(model), None).items() if 'loss' in name).backward()
    return model


@pytest.mark.parametrize('attack_mask', ['same', 'resampled', 'none'])
@pytest.mark.parametrize('fails', [False, True])
def test_an_attack_changes_nothing_of_the_model(tiny, model, monkeypatch, attack_mask, fails):
    attack, before, after, model.attack_mask = model.attack, [], [], attack_mask

    def snapshots_around_the_attack(*args):
        before.append(tiny.snapshot(model))
        try:
            return attack(*args)
        finally:
            after.append(tiny.snapshot(model))

    monkeypatch.setattr(model, 'attack', snapshots_around_the_attack)
    if fails:
        distance, values = model.distance, iter([True, False])
        monkeypatch.setattr(model, 'distance', lambda *args: distance(*args) if next(values) else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.loss(tiny.images(model), None)
    else:
        model.loss(tiny.images(model), None)
    tiny.assert_same_snapshot(after[0], before[0])


@pytest.mark.parametrize('convert', [convert_sync_batchnorm, nn.SyncBatchNorm.convert_sync_batchnorm])
def test_sync_bn_keeps_the_adversarial_weights(tiny, model, convert):
    """mmengine's Runner converts a model after its construction (``sync_bn='torch'``), and some tools convert back."""
    tiny.part_domains(model)
    before, norm = {name: value.clone() for name, value in model.state_dict().items()}, model.backbone.layers[0].ln2
    x = torch.randn(6, 32)
    with use_domain(norm.eval(), Domain.ADV):
        expected = norm(x[:, None])[:, 0]
    converted = convert(deepcopy(model))
    assert isinstance(converted.backbone.layers[0].ln2, nn.SyncBatchNorm)
    for found in (converted, revert_sync_batchnorm(deepcopy(converted))):
        norm = found.backbone.layers[0].ln2
        assert norm.split_names == model.backbone.layers[0].ln2.split_names
        assert found.state_dict().keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())
        with use_domain(norm.eval(), Domain.ADV):
            torch.testing.assert_close(norm(x), expected)


def test_a_step_counts_one_batch_in_each_domain(tiny, model):
    norm = model.backbone.layers[0].ln2
    counts, mean = norm.num_batches_tracked.item(), norm.running_mean_adv.clone()
    model.loss(tiny.images(model), None)
    assert norm.num_batches_tracked == norm.num_batches_tracked_adv == counts + 1
    assert not torch.equal(norm.running_mean_adv, mean)
    assert not torch.equal(norm.running_mean_adv, norm.running_mean)


def test_inputs_keep_their_values_and_need_no_gradient(tiny, model):
    images = tiny.images(model)
    before = images.clone()
    passes = model.two_passes(images, None)
    assert torch.equal(images, before) and not images.requires_grad
    assert not passes.attack.x_adv.requires_grad and not torch.equal(passes.attack.x_adv, images)
