"""MIMIR against mmpretrain's MAE, and its penalty against formulas in NumPy."""

import numpy as np
import pytest
import torch
from helpers import tiny
from mmengine.optim import OptimWrapper

from aemim_mm import AdvDataPreprocessor
from aemim_mm.engine.optim import Bfloat16OptimWrapper
from aemim_mm.errors import UserError
from aemim_mm.models.baselines.hsic import normalized_hsic
from aemim_mm.replay import recorded_calls


def formula(first, second, sigma=5.0):
    """Compute the normalised HSIC as the authors' release does, but in double precision."""
    ratios = []
    for rows in (first, second):
        count, width = rows.shape
        distances = np.square(rows[:, None] - rows[None]).sum(-1)
        centred = np.exp(-distances / (2 * sigma**2 * width)) @ (np.eye(count) - np.ones((count, count)) / count)
        ratios.append(centred @ np.linalg.inv(centred + 1e-5 * count * np.eye(count)))
    return np.trace(ratios[0] @ ratios[1])


@pytest.mark.parametrize(('count', 'scale'), [(2, 1.0), (16, 1.0), (64, 5.0)])
def test_the_dependence_follows_the_formula(count, scale):
    generator = torch.Generator().manual_seed(count)
    first = scale * torch.randn(count, 40, generator=generator) + 3
    other = torch.rand(count, 90, generator=generator)
    mixed = other + 0.1 * first @ torch.randn(40, 90, generator=generator)
    values = []
    for second in (first, mixed, other):
        values.append(normalized_hsic(first, second).item())
        expected = formula(first.double().numpy(), second.double().numpy())
        assert values[-1] == pytest.approx(expected, rel=1e-5)
        assert normalized_hsic(second, first).item() == pytest.approx(values[-1], rel=1e-4)
    assert count == 2 or values[0] > values[1] > values[2]


def test_the_gradient_of_the_dependence_is_its_slope():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(12, 20, generator=generator) for _ in range(2))
    direction = torch.randn(12, 20, generator=generator)
    first.requires_grad_(True)
    (gradient,) = torch.autograd.grad(normalized_hsic(first, second), first)
    start, change = first.detach().double().numpy(), 1e-5 * direction.double().numpy()
    slope = formula(start + change, second.double().numpy()) - formula(start - change, second.double().numpy())
    assert (gradient * direction).sum().item() == pytest.approx(slope / 2e-5, rel=1e-3)


def test_autocast_does_not_change_the_dependence():
    rows = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16):
        inside = normalized_hsic(*rows)
    assert torch.equal(inside, normalized_hsic(*rows)) and inside.dtype == torch.float32


@pytest.mark.parametrize('steps', [1, 3])
def test_it_reconstructs_clean_images_from_adversarial_examples_of_its_own_loss(steps):
    stock = tiny.build(tiny.mae())
    model = tiny.matched(tiny.mimir(data_preprocessor=dict(steps=steps), hsic_weight=0.5), stock)
    images = tiny.images(model)
    torch.manual_seed(5)
    with recorded_calls(model.backbone) as calls:
        losses = model.loss(images, None)

    # The stock model, with the same random numbers.
    attack = AdvDataPreprocessor(eps=8, steps=steps, step_size=10, **tiny.NORMALIZE)
    torch.manual_seed(5)
    x_adv = attack.perturb(images, lambda x: 4 * stock.loss(x, None)['loss'])
    latent, mask, ids_restore = stock.backbone(x_adv)
    expected = stock.head.loss(stock.neck(latent, ids_restore), images, mask)
    pixels = (attack.denormalize(x_adv) / 255).flatten(1).double().numpy()
    dependence = formula(latent.detach().flatten(1).double().numpy(), pixels)

    assert torch.equal(calls[-1].args[0], x_adv) and len(calls) == steps + 1
    assert losses.keys() == {'loss_pixels', 'loss_hsic'}
    assert torch.equal(losses['loss_pixels'], expected)
    assert losses['loss_hsic'].item() == pytest.approx(0.5 * dependence, rel=2e-3)
    masks = [call.output[1] for call in calls]
    assert all(not torch.equal(one, other) for n, one in enumerate(masks) for other in masks[:n])


def test_the_attack_also_moves_hidden_patches():
    """Its target is the adversarial example itself."""
    model = tiny.build(tiny.mimir(data_preprocessor=dict(start='zero')))
    images = tiny.images(model)
    with recorded_calls(model.backbone) as calls:
        moved = model.adversarial_examples(images) != images
    hidden = (
        calls[0].output[1].view(4, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3).bool().expand(4, 3, -1, -1)
    )
    inside = (images > images.amin()) & (images < images.amax())
    assert moved[hidden & inside].float().mean() > 0.95 and moved[~hidden & inside].float().mean() > 0.95


def test_the_attack_leaves_no_trace():
    model = tiny.build(tiny.mimir())
    before = tiny.snapshot(model)
    model.adversarial_examples(tiny.images(model))
    tiny.assert_same_snapshot(tiny.snapshot(model), before)


def test_every_trainable_parameter_gets_a_gradient():
    model = tiny.build(tiny.mimir())
    model.parse_losses(model.loss(tiny.images(model), None))[0].backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None and bool(value.grad.any())) == value.requires_grad, name


def test_bfloat16_is_near_to_float32():
    losses = []
    for wrapper in (OptimWrapper, Bfloat16OptimWrapper):
        model = tiny.build(tiny.mimir())
        torch.manual_seed(0)
        optim = wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        losses.append(model.train_step(dict(inputs=tiny.pixels(), data_samples=None), optim)['loss'].item())
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.03)


def test_it_needs_a_data_preprocessor_that_perturbs():
    with pytest.raises(UserError, match='a SelfSupDataPreprocessor, which cannot perturb images'):
        tiny.build(tiny.mae(type='MIMIR'))
