"""What a model's modes are inside, and that all of it is as before afterwards."""

import pytest
import torch
from torch import nn

from aemim_mm.models.modes import evaluating, only_inputs_need_gradients


def net_with_statistics():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
    )
    net[0].weight.requires_grad_(False)
    net[4].eval()
    net[5].eval()
    return net


@pytest.mark.parametrize('fails', [False, True])
def test_only_inputs_need_gradients_leaves_no_trace(tiny, fails):
    net, x = net_with_statistics(), torch.randn(2, 3, 8, 8)
    net(x).sum().backward()
    before, names = tiny.snapshot(net), list(net.state_dict())
    try:
        with only_inputs_need_gradients(net):
            assert not any(parameter.requires_grad for parameter in net.parameters())
            net(x)
            if fails:
                raise KeyError
    except KeyError:
        pass
    tiny.assert_same_snapshot(tiny.snapshot(net), before)
    assert list(net.state_dict()) == names


def test_only_inputs_need_gradients_changes_no_output():
    net, x = net_with_statistics(), torch.randn(2, 3, 8, 8)
    with only_inputs_need_gradients(net):
        images = x.clone().requires_grad_(True)
        attacked = net(images)
        (gradient,) = torch.autograd.grad(attacked.square().sum(), images)
    expected_images = x.clone().requires_grad_(True)
    expected = net(expected_images)
    assert torch.equal(attacked, expected)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), expected_images)
    torch.testing.assert_close(gradient, expected_gradient)


class Frozen(nn.Linear):
    """It stays in eval mode, and ``train()`` counts its calls."""

    calls = 0

    def train(self, mode=True):
        self.calls += 1
        return super().train(False)


@pytest.mark.parametrize('fails', [False, True])
def test_evaluating_restores_the_mode_of_each_module(fails):
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4).eval(), Frozen(4, 4).eval(), nn.Sequential(nn.Dropout(0.5)))
    expected, calls = [module.training for module in net.modules()], net[2].calls
    assert expected == [True, True, False, False, True, True]
    try:
        with evaluating(net):
            assert not any(module.training for module in net.modules())
            net[3].train()
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in net.modules()] == expected and net[2].calls == calls
