"""Early gradients equal the gradients of one joint backward pass, and free the activations."""

import weakref

import pytest
import torch

from aemim_mm.benchmark.memory import peak_allocated
from aemim_mm.models.early_backward import can_take_gradients, take_gradients

SHARES = [1.0, 0.5]
needs_cpu_float16 = pytest.param(
    torch.float16,
    False,
    marks=pytest.mark.skipif(
        not hasattr(torch, 'get_autocast_dtype'), reason='torch 2.1 has float16 autocast on CUDA only'
    ),
)


def gradients(model, images, samples=None, scale=1.0, times=1):
    """Accumulate the gradients of all parameters over ``times`` passes."""
    model.zero_grad()
    for number in range(times):
        torch.manual_seed(number)
        loss, _ = model.parse_losses(model.loss(images, samples))
        (loss * scale).backward()
    return {name: value.grad for name, value in model.named_parameters() if value.requires_grad}


def assert_same(got, expected, **tolerance):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert value is not None, name
        torch.testing.assert_close(got[name], value, **tolerance, msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.parametrize('share', SHARES)
@pytest.mark.parametrize(('scale', 'times'), [(1.0, 1), (0.25, 1), (0.5, 3)])
@pytest.mark.parametrize('kind', ['aemim', 'aesimmim'])
def test_the_same_gradients_as_from_one_backward_pass(tiny, kind, scale, times, share):
    changes = dict(backbone=dict(drop_path_rate=0.0)) if kind == 'aesimmim' else {}
    early, joint = (
        tiny.build(getattr(tiny, kind)(early_backward=value, adv_share=share, **changes)) for value in (True, False)
    )
    for model in (early, joint):
        tiny.part_domains(model)
    samples = tiny.mask_samples() if kind == 'aesimmim' else None
    images = tiny.images(early)
    got, expected = (gradients(model, images, samples, scale, times) for model in (early, joint))
    assert_same(got, expected, atol=1e-6, rtol=1e-5)


def test_the_same_gradients_in_bfloat16(tiny):
    """autocast caches cast weights beyond the clean pass."""
    early, joint = (tiny.build(tiny.aemim(early_backward=value)) for value in (True, False))
    images = tiny.images(early)
    with torch.autocast('cpu', torch.bfloat16):
        got, expected = gradients(early, images), gradients(joint, images)
    # The joint pass adds the two parts in bfloat16, the early one in float32.
    for name, value in expected.items():
        assert value.norm() > 0 and (got[name] - value).norm() < 0.01 * value.norm(), name


def test_the_clean_activations_are_gone_during_the_attack(tiny):
    """Tensors that the clean pass saved for its backward pass are freed before the attack."""
    for early in (True, False):
        model, saved, alive = tiny.build(tiny.aemim(early_backward=early)), weakref.WeakSet(), []
        attack = model.attack

        class Kept:
            def __init__(self, value):
                self.value = value

        def keep(value, saved=saved, Kept=Kept):
            box = Kept(value)
            saved.add(box)
            return box

        def spy(clean, saved=saved, alive=alive, attack=attack):
            alive.append(len(saved))
            return attack(clean)

        model.attack = spy
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda box: box.value):
            model.loss(tiny.images(model), None)
        assert (alive[0] == 0) == early


def test_a_second_backward_pass_is_refused(tiny):
    model = tiny.build(tiny.aemim())
    loss, _ = model.parse_losses(model.loss(tiny.images(model), None))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match=r'set model\.early_backward=False'):
        loss.backward()


def test_hooks_see_the_whole_gradient_once(tiny):
    """Like DDP's hooks, they are called once, when a parameter's gradient is complete."""
    model, seen = tiny.build(tiny.aemim()), []
    layer = model.backbone.layers[0].attn.proj.weight
    layer.register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.clone()))
    expected = gradients(model, tiny.images(model))['backbone.layers.0.attn.proj.weight']
    assert len(seen) == 1 and torch.equal(seen[0], expected)


def test_frozen_and_unused_parameters_are_left_alone():
    used, unused, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    again = take_gradients((used * frozen * 3).sum(), [used, unused, frozen])
    (2 * again()).backward()
    assert used.grad.tolist() == [6, 6] and unused.grad is None and frozen.grad is None


@pytest.mark.parametrize(('dtype', 'expected'), [(torch.bfloat16, True), needs_cpu_float16])
def test_not_where_small_gradients_would_be_lost(dtype, expected):
    model = torch.nn.Linear(2, 2)
    with torch.autocast('cpu', dtype):
        assert can_take_gradients(model.weight.sum(), model) == expected
    with torch.no_grad():
        assert not can_take_gradients(model.weight.sum(), model)


@pytest.mark.parametrize('name', ['FullyShardedDataParallel', 'FSDPModule'])
def test_not_where_fsdp_computes_with_other_tensors(name):
    """tests/engine/test_sharding.py tests the real FSDP."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert can_take_gradients(model[0].weight.sum(), model)
    part = torch.nn.Sequential(type('Layer', (type(name, (torch.nn.Linear,), {}),), {})(2, 2))
    assert not can_take_gradients(part[0].weight.sum(), part)
    whole = model[0].weight * 1
    model[0]._parameters['weight'] = whole
    assert not can_take_gradients(whole.sum(), model)


def test_the_most_memory_is_near_that_of_mae(tiny):
    """Activations outweigh the weights here. Without early gradients, both passes' activations are held at once."""
    changes = dict(backbone=dict(arch=dict(embed_dims=64, feedforward_channels=256)), neck=dict(embed_dim=64))

    def most(config):
        model = tiny.build(config)
        images = tiny.images(model, 64)

        def step():
            model.parse_losses(model.loss(images, None))[0].backward()

        step()
        model.zero_grad()
        return peak_allocated(step, images.device)

    mae = most(tiny.mae(**changes))
    early, joint = (most(tiny.aemim(early_backward=value, **changes)) for value in (True, False))
    assert early < 1.3 * mae and joint > 1.4 * mae
