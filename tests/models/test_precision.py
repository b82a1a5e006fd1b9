"""Mixed precision: the precision of each pass, and losses that agree with float32."""

from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import aemim_mm
from aemim_mm.errors import UserError
from aemim_mm.models.precision import attack_precision, autocast_dtype

HAS_CPU_FLOAT16 = hasattr(torch, 'get_autocast_dtype')  # torch 2.4 and later
needs_cpu_float16 = pytest.mark.skipif(not HAS_CPU_FLOAT16, reason='torch 2.1 has float16 autocast on CUDA only')


def outer(dtype):
    return torch.autocast('cpu', dtype=dtype, enabled=dtype is not None)


def step(tiny, dtype, seed=3, **changes):
    """Run one step under autocast; return the model, the losses, and the precision of each encoder pass."""
    model, seen = tiny.build(tiny.aemim(**changes)), []
    tiny.part_domains(model)
    images = tiny.images(model)
    model.backbone.register_forward_pre_hook(lambda *_: seen.append(autocast_dtype('cpu')))
    torch.manual_seed(seed)
    with outer(dtype):
        losses = model.loss(images, None)
    return model, losses, seen


@pytest.mark.parametrize('dtype', [None, torch.bfloat16, pytest.param(torch.float16, marks=needs_cpu_float16)])
def test_autocast_dtype(dtype):
    with outer(dtype):
        assert autocast_dtype('cpu') is dtype
    assert autocast_dtype('cpu') is None


@pytest.mark.parametrize(
    ('name', 'dtype', 'in_attack'),
    [
        ('auto', None, None),
        ('auto', torch.bfloat16, torch.bfloat16),
        pytest.param('auto', torch.float16, None, marks=needs_cpu_float16),
        ('float32', torch.bfloat16, None),
        ('float32', None, None),
        ('bfloat16', None, torch.bfloat16),
        pytest.param('bfloat16', torch.float16, torch.bfloat16, marks=needs_cpu_float16),
    ],
)
def test_the_attack_has_a_precision_of_its_own(tiny, name, dtype, in_attack):
    _, _, seen = step(tiny, dtype, attack_precision=name)
    assert seen == [dtype, in_attack, in_attack, dtype]


@pytest.mark.parametrize('attack_mask', ['same', 'none'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, pytest.param(torch.float16, marks=needs_cpu_float16)])
def test_a_step_in_half_precision_stays_close_to_float32(tiny, dtype, attack_mask):
    _, expected, _ = step(tiny, None, attack_mask=attack_mask)
    model, losses, _ = step(tiny, dtype, attack_mask=attack_mask)
    assert losses['attack_start'].dtype == losses['attack_end'].dtype == torch.float32
    for name in ('loss_clean', 'loss_adv'):
        torch.testing.assert_close(losses[name].float(), expected[name], rtol=0.02, atol=0.01)
    for name in ('attack_start', 'attack_end'):
        torch.testing.assert_close(losses[name], expected[name], rtol=0.1, atol=0.05)
    assert losses['attack_zero_grad'] == pytest.approx(expected['attack_zero_grad'].item(), abs=0.01)

    before = {name: value.clone() for name, value in model.named_parameters()}
    model.parse_losses(losses)[0].backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert all(torch.isfinite(value).all() for value in trained.values())
    assert sum(not torch.equal(value, before[name]) for name, value in trained.items()) > 0.9 * len(trained)


def test_gradients_in_bfloat16_reach_weights_that_the_attack_used_too(tiny):
    """autocast caches cast weights. Those cast in the attack have no gradients, so the next pass must not use them."""
    model, losses, _ = step(tiny, torch.bfloat16)
    model.parse_losses(losses)[0].backward()
    without = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []


class SeenInBackward(torch.autograd.Function):
    """The identity, which notes the precision of each backward pass."""

    seen: list = []

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        SeenInBackward.seen.append(autocast_dtype('cpu'))
        return gradient


def test_no_backward_pass_is_under_autocast(tiny, monkeypatch):
    """Up to torch 2.4, a backward pass on CUDA would be in float16 there; recomputed activations keep bfloat16."""
    model, recomputed = tiny.build(tiny.aemim()), []
    layer = model.backbone.layers[0]
    forward = layer.forward

    def checkpointed(x):
        recomputed.append(autocast_dtype('cpu'))
        return SeenInBackward.apply(forward(x))

    monkeypatch.setattr(SeenInBackward, 'seen', [])
    layer.forward = lambda x: checkpoint(checkpointed, x, use_reentrant=False)
    with torch.autocast('cpu', torch.bfloat16):
        model.parse_losses(model.loss(tiny.images(model), None))
    # Early gradients of the clean pass, and two steps of the attack.
    assert SeenInBackward.seen == [None] * 3
    assert len(recomputed) == 4 + 3 and set(recomputed) == {torch.bfloat16}


def test_all_gradients_are_taken_in_one_place():
    package = Path(aemim_mm.__file__).parent
    found = [path.name for path in package.rglob('*.py') if 'autograd.grad(' in path.read_text(encoding='utf-8')]
    assert found == ['gradients.py']


def test_an_unknown_precision_lists_the_known_ones():
    with pytest.raises(UserError, match="attack_precision 'fp16'. Known: auto, bfloat16, float32"):
        attack_precision('fp16', 'cpu')
