"""The forward pass runs under bfloat16 autocast, without loss scaling; FusedAdamW equals AdamW."""

from copy import deepcopy

import pytest
import torch
from helpers import runs
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper

from aemim_mm.engine.optim import FUSED_DEVICES, Bfloat16OptimWrapper, FusedAdamW
from aemim_mm.launch import load_config
from aemim_mm.models.precision import autocast_dtype


@pytest.fixture
def wrapper():
    model = torch.nn.Linear(3, 2)
    return model, build_optim_wrapper(
        model, dict(type='Bfloat16OptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.5))
    )


def test_autocast_is_on_in_the_forward_pass_only(wrapper):
    model, optim = wrapper
    assert type(optim) is Bfloat16OptimWrapper and not isinstance(optim, AmpOptimWrapper)
    assert autocast_dtype('cpu') is None
    with optim.optim_context(model):
        assert autocast_dtype('cpu') is torch.bfloat16
        assert model(torch.ones(1, 3)).dtype is torch.bfloat16
    assert autocast_dtype('cpu') is None


@pytest.mark.parametrize(
    ('kind', 'more', 'kept'),
    [
        ('OptimWrapper', (), {}),
        ('Bfloat16OptimWrapper', ('optim_wrapper.dtype=float16',), {}),
        ('AmpOptimWrapper', ('optim_wrapper.dtype=float16',), dict(loss_scale='dynamic', dtype='float16')),
    ],
)
def test_each_precision_can_be_chosen_for_a_config_that_inherits_float16(kind, more, kept):
    """The error on a GPU without bfloat16, and docs/usage.md, recommend these options."""
    cfg = load_config(runs.CONFIGS / 'aemim_vit-b_800e.py', options=[f'optim_wrapper.type={kind}', *more])
    wrapper = dict(cfg.optim_wrapper)
    assert {name: wrapper[name] for name in ('loss_scale', 'dtype') if name in wrapper} == kept
    if kind != 'AmpOptimWrapper':  # It needs a GPU.
        assert type(build_optim_wrapper(torch.nn.Linear(3, 2), cfg.optim_wrapper)).__name__ == kind


def test_an_exception_leaves_autocast_off(wrapper):
    model, optim = wrapper
    with pytest.raises(RuntimeError), optim.optim_context(model):
        model(torch.ones(1, 4))
    assert autocast_dtype('cpu') is None


def test_a_step_is_that_of_unscaled_bfloat16_gradients(wrapper):
    model, optim = wrapper
    weight, x = model.weight.detach().clone(), torch.tensor([[0.5, -2.0, 1.0]])
    with optim.optim_context(model):
        loss = model(x).float().sum()
    optim.update_params(loss)
    # Each row of the gradient of the sum is x. These numbers are exact in bfloat16.
    torch.testing.assert_close(model.weight.detach(), weight - 0.5 * x.expand(2, 3), atol=0, rtol=0)
    assert model.weight.dtype is torch.float32


def test_gradients_accumulate(wrapper):
    model, _ = wrapper
    optim = build_optim_wrapper(
        model, dict(type='Bfloat16OptimWrapper', accumulative_counts=2, optimizer=dict(type='SGD', lr=1.0))
    )
    optim.initialize_count_status(model, 0, 4)
    weight = model.weight.detach().clone()
    for step in range(2):
        assert torch.equal(model.weight.detach(), weight)
        with optim.optim_context(model):
            loss = model(torch.full((1, 3), 2.0 * step)).float().sum()
        optim.update_params(loss)
    # The mean of the gradients 0 and 2.
    torch.testing.assert_close(model.weight.detach(), weight - 1, atol=1e-6, rtol=0)


def steps_of_adamw(kind, saved=None):
    """Take three steps on two groups; return the optimizer and the weights."""
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 4)
    config = dict(type=kind, lr=0.1, betas=(0.9, 0.95), weight_decay=0.3)
    paramwise = dict(bias_decay_mult=0.0, custom_keys={'weight': dict(lr_mult=0.5)})
    optimizer = build_optim_wrapper(model, dict(optimizer=config, paramwise_cfg=paramwise)).optimizer
    if saved:
        optimizer.load_state_dict(deepcopy(saved))  # The optimizer changes the tensors in place.
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(2, 5)).square().sum().backward()
        optimizer.step()
    return optimizer, model


def test_fused_adamw_is_adamw():
    (fused, got), (plain, expected) = steps_of_adamw('FusedAdamW'), steps_of_adamw('AdamW')
    assert all(bool(group['fused']) == ('cpu' in FUSED_DEVICES) for group in fused.param_groups)
    for name in ('lr', 'betas', 'weight_decay', 'eps'):
        assert [group[name] for group in fused.param_groups] == [group[name] for group in plain.param_groups]
    for mine, other in zip(got.parameters(), expected.parameters()):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(('first', 'second'), [('AdamW', 'FusedAdamW'), ('FusedAdamW', 'AdamW')])
def test_adamw_and_fused_adamw_go_on_from_each_other(first, second):
    saved = steps_of_adamw(first)[0].state_dict()
    (_, got), (_, expected) = steps_of_adamw(second, saved), steps_of_adamw(first, saved)
    for mine, other in zip(got.parameters(), expected.parameters()):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('params', [lambda model: model.parameters(), lambda model: list(model.parameters())])
def test_fused_adamw_takes_what_adamw_takes(params):
    model = torch.nn.Linear(2, 2)
    assert [len(group['params']) for group in FusedAdamW(params(model), lr=1e-3).param_groups] == [2]
    (group,) = FusedAdamW([dict(params=model.weight, lr=0.5)]).param_groups
    assert group['lr'] == 0.5 and group['params'][0] is model.weight
