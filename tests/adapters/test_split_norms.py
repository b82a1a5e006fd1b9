"""Split normalisation layers equal their stock layers."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from aemim_mm import Domain, split_adapters, use_domain
from aemim_mm.adapters import AdaptedLayer, sync_adapters


def cnn(seed=0):
    """Make every kind of normalisation layer, with non-trivial weights and statistics."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.GroupNorm(2, 8),
        nn.Conv2d(8, 8, 3),
        nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        nn.BatchNorm2d(8, momentum=None),
        nn.InstanceNorm2d(8),
        nn.Flatten(),
        nn.Linear(8 * 16, 6),
        nn.LayerNorm(6),
        nn.BatchNorm1d(6, affine=False),
    )
    with torch.no_grad():
        for layer in net:
            if getattr(layer, 'weight', None) is not None and layer.weight.dim() == 1:
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.5, 0.5)
            if getattr(layer, 'running_mean', None) is not None:
                layer.running_mean.uniform_(-0.5, 0.5)
                layer.running_var.uniform_(0.5, 1.5)
    return net


def batches(count=3):
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(count)]


def clean_state(net):
    return {name: value for name, value in net.state_dict().items() if not name.endswith('_adv')}


def adv_state_under_clean_names(net):
    """Return the adversarial weights under the stock names."""
    state = net.state_dict()
    return {name: state.get(f'{name}_adv', value) for name, value in state.items() if not name.endswith('_adv')}


def assert_equal_states(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        assert torch.equal(got[name], expected[name]), name


def part_domains(net):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith('_adv') and value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('domain', list(Domain))
def test_both_domains_equal_the_stock_model_at_first(training, domain):
    stock, split = cnn().train(training), split_adapters(cnn()).train(training)
    for x in batches():
        with use_domain(split, domain):
            assert torch.equal(split(x), stock(x))
    running = clean_state(split) if domain is Domain.CLEAN else adv_state_under_clean_names(split)
    assert_equal_states(running, stock.state_dict())


@pytest.mark.parametrize('training', [True, False])
def test_adv_is_a_stock_model_that_has_the_adv_weights(training):
    split = split_adapters(cnn()).train(training)
    part_domains(split)
    stock = cnn(seed=1).train(training)
    stock.load_state_dict(adv_state_under_clean_names(split))
    for x in batches():
        clean = deepcopy(split)(x)
        expected = stock(x)
        with use_domain(split, Domain.ADV):
            assert torch.equal(split(x), expected)
        assert not torch.allclose(clean, expected, atol=1e-2)
    assert_equal_states(adv_state_under_clean_names(split), stock.state_dict())


@pytest.mark.parametrize('domain', list(Domain))
def test_training_changes_only_the_statistics_of_the_domain(domain):
    split = split_adapters(cnn()).train()
    before = deepcopy(split.state_dict())
    with use_domain(split, domain):
        split(batches()[0])
    changed = {name for name, value in split.state_dict().items() if not torch.equal(value, before[name])}
    suffix = '_adv' if domain is Domain.ADV else ''
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    expected = {f'{index}.{name}{suffix}' for index in (1, 6, 11) for name in statistics}
    # torch's InstanceNorm has a counter that it does not use.
    expected |= {f'5.{name}{suffix}' for name in statistics[:2]}
    assert changed == expected


def test_gradients_reach_only_the_weights_of_the_domain():
    for domain, own, other in ((Domain.CLEAN, '', '_adv'), (Domain.ADV, '_adv', '')):
        split = split_adapters(cnn())
        with use_domain(split, domain):
            split(batches()[0]).square().sum().backward()
        for index in (1, 3, 5, 6, 10):
            assert getattr(split[index], f'weight{own}').grad is not None
            assert getattr(split[index], f'weight{other}').grad is None
        assert split[0].weight.grad is not None


def test_an_exception_in_the_adv_domain_leaves_the_layer_whole():
    split = split_adapters(nn.Sequential(nn.LayerNorm(4)))
    before = deepcopy(split.state_dict())
    with use_domain(split, Domain.ADV), pytest.raises(RuntimeError):
        split(torch.ones(2, 5))
    assert_equal_states(split.state_dict(), before)
    assert {'weight', 'bias'} <= split[0]._parameters.keys()
    assert not {'weight', 'bias'} & vars(split[0]).keys()


def test_isinstance_holds_and_a_second_call_changes_nothing():
    split = split_adapters(cnn(), 'norm')
    part_domains(split)
    before, classes = deepcopy(split.state_dict()), [type(layer) for layer in split]
    assert split_adapters(split, ('norm',)) is split
    assert_equal_states(split.state_dict(), before)
    assert [type(layer) for layer in split] == classes
    assert isinstance(split[1], nn.BatchNorm2d) and isinstance(split[1], AdaptedLayer)


def test_a_frozen_layer_stays_frozen_in_both_domains():
    norm = nn.Sequential(nn.LayerNorm(4).requires_grad_(False))
    assert not split_adapters(norm)[0].weight_adv.requires_grad


def test_two_kinds_of_state_survive_deepcopy_and_a_saved_checkpoint(tmp_path):
    split = split_adapters(cnn())
    part_domains(split)
    copy = deepcopy(split)
    assert_equal_states(copy.state_dict(), split.state_dict())
    assert copy[1].weight_adv.data_ptr() != split[1].weight_adv.data_ptr()

    torch.save(split.state_dict(), tmp_path / 'split.pth')
    loaded = split_adapters(cnn(seed=2))
    loaded.load_state_dict(torch.load(tmp_path / 'split.pth', weights_only=True), strict=True)
    assert_equal_states(loaded.state_dict(), split.state_dict())
    assert not torch.equal(loaded[1].weight, loaded[1].weight_adv)


def test_a_stock_checkpoint_gives_both_domains_its_weights():
    stock, split = cnn(), split_adapters(cnn(seed=4))
    part_domains(split)
    given = stock.state_dict()
    names = list(given)
    split.load_state_dict(given, strict=True)
    assert list(given) == names
    assert_equal_states(clean_state(split), stock.state_dict())
    assert_equal_states(adv_state_under_clean_names(split), stock.state_dict())


def test_sync_makes_adv_equal_to_clean_but_for_what_a_checkpoint_gave():
    split = split_adapters(nn.Sequential(cnn(), cnn()))
    part_domains(split)
    split[1].init_cfg = dict(type='Pretrained', checkpoint='any.pth')
    kept = deepcopy(split[1].state_dict())
    sync_adapters(split)
    assert_equal_states(adv_state_under_clean_names(split[0]), clean_state(split[0]))
    assert_equal_states(split[1].state_dict(), kept)
