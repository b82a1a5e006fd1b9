"""Counted costs of a step equal arithmetic and torch's own counter."""

import pytest
import torch
from helpers import tiny
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.utils.flop_counter import FlopCounterMode

from aemim_mm.benchmark.counting import Flops, cost_of, largest_share


def test_a_linear_layer_with_an_attack_in_its_loss():
    """The forward pass and the gradient of the weights take 2BIO operations each, and so do the two of the attack."""
    layer, images = torch.nn.Linear(6, 10, bias=False), torch.rand(4, 6)

    def loss(attack=True):
        x = images.clone().requires_grad_(True)
        if attack:
            (grad,) = torch.autograd.grad(layer(x).square().sum(), x)
            x = (x + grad).detach()
        return layer(x.detach()).sum()

    assert cost_of(lambda: loss(attack=False), layer.parameters()).flops == 2 * 2 * 4 * 6 * 10
    cost = cost_of(loss, layer.parameters())
    # The attack takes no gradient of the weights. Autograd keeps only the second pass's inputs, in bfloat16.
    assert cost.flops == 4 * 2 * 4 * 6 * 10 and cost.kept == 2 * 4 * 6


def test_the_traffic_of_elementwise_operations():
    """Products, views and empty tensors move nothing; each input is read and each output written once."""
    a, b = torch.rand(4, 8), torch.rand(4, 8)
    bias = torch.rand(1, 8)
    with Flops() as flops:
        (a.view(8, 4) @ b).t()
        torch.empty(100)
    assert flops.moved == 0
    with Flops() as flops:
        a + b  # 3 x 32 numbers of 4 bytes
        a + bias.expand(4, 8)  # The bias is read once: 32 + 8 + 32 numbers.
        a.to(torch.bfloat16)  # 32 numbers of 4 bytes read, 32 of 2 bytes written
        a.add_(b)  # 3 x 32 numbers
    assert flops.moved == 4 * 96 + 4 * 72 + (128 + 64) + 4 * 96


@pytest.mark.skipif(torch.__version__ < '2.3', reason='sdpa_kernel came with torch 2.3')
def test_a_stock_model_counts_as_torch_counts_it():
    model = tiny.build(tiny.mae())
    images = tiny.images(model)

    def loss():
        return model.loss(images, None)['loss']

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        ours = cost_of(loss, model.parameters())
        with FlopCounterMode(display=False) as counter, torch.autocast('cpu', torch.bfloat16):
            loss().backward()
    assert ours.flops == counter.get_total_flops()


@pytest.mark.parametrize(
    ('groups', 'ranks', 'most'),
    [([[4, 1, 1, 1, 1]], 2, 4), ([[1, 1, 4]], 2, 4), ([[1], [1], [4]], 2, 5), ([[7]], 8, 7), ([[3, 5], [2, 9]], 2, 12)],
)
def test_the_largest_share_of_a_process_is_that_of_zero_1(groups, ranks, most):
    zero = ZeroRedundancyOptimizer.__new__(ZeroRedundancyOptimizer)
    zero.world_size, zero._partition_parameters_cache = ranks, []
    zero.param_groups = [dict(params=[torch.empty(size) for size in sizes]) for sizes in groups]
    shares = [
        sum(value.numel() for group in rank for value in group['params']) for rank in zero._partition_parameters()
    ]
    assert largest_share(groups, ranks) == max(shares) == most
