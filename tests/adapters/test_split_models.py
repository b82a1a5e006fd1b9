"""Whole stock models before and after ``split_adapters``."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

from aemim_mm import Domain, split_adapters, use_domain
from aemim_mm.errors import UserError


def vit(tiny, seed=0):
    return tiny.build(
        dict(type='VisionTransformer', arch=tiny.ARCH, img_size=32, patch_size=8, out_type='raw', drop_path_rate=0.2),
        seed,
    )


def swin(tiny, seed=0):
    config = {**deepcopy(tiny.SWIN), 'type': 'SwinTransformer'}
    return tiny.build(config, seed)


def stock_with_adv_weights(stock, split):
    state = split.state_dict()
    stock.load_state_dict({name: state.get(f'{name}_adv', state[name]) for name in stock.state_dict()})
    return stock


def seeded(model, x):
    torch.manual_seed(7)  # DropPath
    return model(x)[0]


@pytest.mark.parametrize('make', [vit, swin])
@pytest.mark.parametrize('training', [True, False])
def test_clean_equals_stock_and_adv_equals_clean(tiny, make, training):
    stock = make(tiny)
    stock.train(training)
    split = split_adapters(deepcopy(stock))
    x = torch.randn(2, 3, 32, 32)
    expected = seeded(stock, x)
    assert torch.equal(seeded(split, x), expected)
    with use_domain(split, Domain.ADV):
        assert torch.equal(seeded(split, x), expected)


@pytest.mark.parametrize('make', [vit, swin])
def test_adv_is_the_stock_model_with_the_adv_weights(tiny, make):
    split = split_adapters(make(tiny))
    tiny.part_domains(split)
    stock = stock_with_adv_weights(make(tiny, seed=1), split)
    x = torch.randn(2, 3, 32, 32)
    with use_domain(split, Domain.ADV):
        assert torch.equal(seeded(split, x), seeded(stock, x))
    assert (seeded(split, x) - seeded(stock, x)).abs().max() > 0.05


@pytest.mark.parametrize('make', [vit, swin])
def test_clean_names_equal_the_stock_model_and_the_others_end_in_adv(tiny, make):
    stock, split = make(tiny), split_adapters(make(tiny))
    names = set(split.state_dict())
    assert {name for name in names if not name.endswith('_adv')} == set(stock.state_dict())
    norms = {
        f'{name}.{own}_adv'
        for name, layer in stock.named_modules()
        if isinstance(layer, nn.LayerNorm)
        for own in ('weight', 'bias')
    }
    tokens = {'cls_token_adv'} if hasattr(stock, 'cls_token') else set()
    assert {name for name in names if name.endswith('_adv')} == norms | tokens


@pytest.mark.parametrize(('adapters', 'has_norm', 'has_token'), [('norm', True, False), (('cls_token',), False, True)])
def test_only_the_named_adapters_are_split(tiny, adapters, has_norm, has_token):
    names = set(split_adapters(vit(tiny), adapters).state_dict())
    assert ('ln1.weight_adv' in names, 'cls_token_adv' in names) == (has_norm, has_token)


def test_kinds_may_be_split_one_after_the_other(tiny):
    both, one_by_one = split_adapters(vit(tiny)), split_adapters(split_adapters(vit(tiny), 'norm'), 'cls_token')
    assert set(both.state_dict()) == set(one_by_one.state_dict())
    assert one_by_one.cls_token_adv.requires_grad


def test_a_copy_switches_and_loads_by_itself(tiny):
    split = split_adapters(vit(tiny))
    copy = deepcopy(split)
    tiny.part_domains(copy)
    x = torch.randn(2, 3, 32, 32)
    before = seeded(split, x)
    with use_domain(copy, Domain.ADV):
        assert not torch.allclose(seeded(copy, x), before, atol=1e-2)
        assert torch.equal(seeded(split, x), before)
    copy.load_state_dict(vit(tiny, seed=3).state_dict(), strict=True)
    assert torch.equal(copy.cls_token_adv, copy.cls_token)


def test_an_unknown_adapter_lists_the_known_ones(tiny):
    with pytest.raises(UserError, match=r"adapter 'norms'.*cls_token.*norm"):
        split_adapters(vit(tiny), ('norms',))


def test_an_unknown_adapter_splits_nothing(tiny):
    model = vit(tiny)
    with pytest.raises(UserError):
        split_adapters(model, ('norm', 'no such'))
    assert not any(name.endswith('_adv') for name in model.state_dict())


@pytest.mark.parametrize(('model', 'adapters'), [(nn.Linear(2, 2), 'norm'), (nn.LayerNorm(2), 'cls_token')])
def test_nothing_to_split_is_an_error(model, adapters):
    with pytest.raises(UserError, match=f'Nothing to adapt in {type(model).__name__}'):
        split_adapters(model, adapters)


def forward_of_a_copy(data):
    """Compute the outputs of a pickled model in both domains, in a process that has made no split layer."""
    model, x = pickle.loads(data)
    with use_domain(model, Domain.ADV):
        adv = model(x)[0]
    return [value.detach().numpy() for value in (model(x)[0], adv)]


def test_a_split_model_is_copied_saved_and_sent_to_a_spawned_process(tiny, tmp_path):
    model = split_adapters(vit(tiny))
    model.eval()  # Returns None in mmpretrain.
    tiny.part_domains(model)
    x = torch.randn(2, 3, 32, 32)
    torch.save(model, tmp_path / 'model.pth')
    data = pickle.dumps((model, x))
    with torch.multiprocessing.get_context('spawn').Pool(1) as pool:
        spawned = pool.apply(forward_of_a_copy, (data,))
    for copy in (deepcopy(model), torch.load(tmp_path / 'model.pth', weights_only=False), None):
        for number, domain in enumerate(Domain):
            with use_domain(model, domain):
                expected = model(x)[0]
            if copy is None:
                torch.testing.assert_close(torch.from_numpy(spawned[number]), expected)
                continue
            assert all(type(a) is type(b) for a, b in zip(copy.modules(), model.modules()))
            with use_domain(copy, domain):
                assert torch.equal(copy(x)[0], expected)


@pytest.mark.parametrize(('kind', 'grid'), [('aemim', None), ('aesimmim', (8, 8)), ('aesimmim_vit', (4, 4))])
def test_a_whole_algorithm_is_copied_and_pickled(tiny, kind, grid):
    model = tiny.build(getattr(tiny, kind)())
    images, samples = tiny.images(model), grid and tiny.mask_samples(grid=grid)

    def loss(model):
        torch.manual_seed(3)
        return [value.item() for value in model.loss(images, samples).values()]

    assert loss(model) == loss(deepcopy(model)) == loss(pickle.loads(pickle.dumps(model)))
