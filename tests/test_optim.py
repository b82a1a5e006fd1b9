"""bfloat16 autocast around the forward pass, without loss scaling."""

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper

from aemim_mm.models.precision import autocast_dtype
from aemim_mm.optim import Bfloat16OptimWrapper


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
    # The gradient of the sum is x, in each row; these numbers are exact in bfloat16.
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
