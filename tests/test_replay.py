"""Replayed randomness and recorded calls."""

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from aemim_mm.errors import UserError
from aemim_mm.replay import (
    Pass,
    RecordedRandomness,
    recorded_calls,
    recorded_outputs,
    substituted_argument,
)


class MaskedEncoder(nn.Module):
    """Hide random columns, and use all layers that draw random numbers."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout, self.drop_path = nn.Linear(6, 6), nn.Dropout(0.5), DropPath(0.5)

    def forward(self, x, mask=None):
        mask = (torch.rand(x.shape) > 0.5).float() if mask is None else mask
        return self.drop_path(self.dropout(self.linear(x * mask))), mask


def test_replay_restores_the_gpu_of_the_images(monkeypatch):
    """A model may be on cuda:1 while the current device is cuda:0. The tests have no GPU, so its state is a number."""
    states = {0: 10, 1: 11}
    fakes = dict(is_initialized=lambda: True, is_available=lambda: True, device_count=lambda: 2)
    fakes |= dict(get_rng_state=states.__getitem__, set_rng_state=lambda state, device: states.update({device: state}))
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    randomness = RecordedRandomness()
    states.update({0: 20, 1: 21})
    with randomness.replayed():
        assert states == {0: 10, 1: 11}
        states[1] = 30
    assert states == {0: 20, 1: 21}


def test_replay_gives_the_same_numbers_and_leaves_the_outer_stream_alone():
    torch.manual_seed(3)
    expected = torch.rand(5), torch.randn(5), torch.randperm(9), torch.rand(4)

    torch.manual_seed(3)
    randomness = RecordedRandomness()
    first = torch.rand(5), torch.randn(5)
    for _ in range(2):
        with randomness.replayed():
            assert torch.equal(torch.rand(5), expected[0])
            assert torch.equal(torch.randn(5), expected[1])
            torch.rand(100)
    rest = torch.randperm(9), torch.rand(4)
    assert all(torch.equal(got, want) for got, want in zip((*first, *rest), expected))


def test_replay_restores_the_outer_stream_after_an_exception():
    randomness = RecordedRandomness()
    state = torch.get_rng_state()
    with pytest.raises(KeyError), randomness.replayed():
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state)


def test_replays_nest():
    outer = RecordedRandomness()
    numbers = torch.rand(6)
    inner = RecordedRandomness()
    with outer.replayed():
        assert torch.equal(torch.rand(3), numbers[:3])
        with inner.replayed():
            torch.rand(7)
        assert torch.equal(torch.rand(3), numbers[3:])


def test_a_recorded_call_repeats_mask_dropout_and_drop_path_with_another_image():
    torch.manual_seed(0)
    encoder, x, other = MaskedEncoder().train(), torch.randn(8, 6), torch.randn(8, 6)
    torch.manual_seed(5)
    torch.rand(3)
    with recorded_calls(encoder) as calls:
        output, mask = encoder(x)
    torch.manual_seed(5)
    torch.rand(3)
    expected, same_mask = encoder(other)
    with calls[0].randomness.replayed():
        again, again_mask = calls[0].again(x, other)
    assert torch.equal(mask, same_mask) and torch.equal(again_mask, mask)
    assert torch.equal(again, expected) and not torch.equal(again, output)
    assert calls[0].output[0] is output
    with calls[0].randomness.replayed():
        assert torch.equal(calls[0].again(x, x)[0], output)


def test_a_recorded_call_keeps_the_other_arguments():
    encoder, x, other = MaskedEncoder().eval(), torch.randn(4, 6), torch.randn(4, 6)
    mask = (torch.arange(4 * 6).view(4, 6) % 5 > 0).float()
    for call_encoder in (lambda: encoder(x, mask), lambda: encoder(x, mask=mask)):
        with recorded_calls(encoder) as calls:
            call_encoder()
        assert torch.equal(calls[0].again(x, other)[0], encoder(other, mask)[0])
        order = torch.tensor([2, 0, 3, 1])
        assert torch.equal(calls[0].again(x, other, order)[0], encoder(other, mask[order])[0])


def test_all_calls_are_recorded_until_the_end_of_the_block():
    encoder, x = MaskedEncoder(), torch.randn(4, 6)
    with recorded_calls(encoder) as calls:
        encoder(x), encoder(x)
    encoder(x)
    assert len(calls) == 2
    with pytest.raises(RuntimeError), recorded_calls(encoder):
        encoder(torch.randn(4, 5))
    assert not encoder._forward_hooks and not encoder._forward_pre_hooks


def test_a_backbone_that_does_not_get_the_images_is_a_clear_error():
    encoder, x = MaskedEncoder(), torch.randn(4, 6)
    with recorded_calls(encoder) as calls:
        encoder(x + 1)
    with pytest.raises(UserError, match='MaskedEncoder was not called with the images'):
        calls[0].again(x, x)


class Head:
    def loss(self, pred, target, mask=1):
        return pred, target, mask


def test_substituted_argument_replaces_that_tensor_only_and_restores():
    head, old, new, equal_to_old = Head(), torch.ones(2), torch.zeros(2), torch.ones(2)
    with substituted_argument(head, 'loss', old, new):
        pred, target, mask = head.loss(equal_to_old, old, mask=3)
        assert pred is equal_to_old and target is new and mask == 3
    assert head.loss(old, old)[1] is old
    assert vars(head) == {}
    with pytest.raises(KeyError), substituted_argument(head, 'loss', old, new):
        raise KeyError
    assert head.loss(old, old)[1] is old


def test_nested_substitutions_restore_what_stood_there():
    head, a, b, c = Head(), torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)
    with substituted_argument(head, 'loss', a, b):
        outer = head.loss
        with substituted_argument(head, 'loss', b, c):
            assert head.loss(a, b) == (b, c, 1)  # The inner one replaces b, then the outer one a.
        assert head.loss == outer and head.loss(a, a) == (b, b, 1)
    assert vars(head) == {}
    head.loss = spy = lambda *args: args
    with substituted_argument(head, 'loss', a, b):
        assert head.loss(a) == (b,)
    assert head.loss is spy


def test_a_pass_repeats_a_loss_with_other_images_and_the_same_mask():
    torch.manual_seed(0)
    encoder, x, other, samples = MaskedEncoder().train(), torch.randn(4, 6), torch.randn(4, 6), [1, 2, 3, 4]

    def algorithm_loss(images, data_samples, scale):
        noise = torch.rand(1)
        features, mask = encoder(images)
        return dict(loss=scale * features.sum(), loss_noise=noise.sum() * len(data_samples), seen=mask)

    step = Pass(algorithm_loss, encoder, x, samples, scale=3)
    torch.rand(7)
    again = step.again(other)
    assert torch.equal(again.call.output[1], step.call.output[1]) and again.call.args[0] is other
    assert torch.equal(step.again(x).loss, step.loss)
    with step.randomness.replayed():
        expected = algorithm_loss(other, samples, 3)
    assert torch.equal(again.loss, expected['loss'] + expected['loss_noise'])

    part = step.first(2)
    assert part.images.tolist() == x[:2].tolist() and part.data_samples == [1, 2] and not hasattr(part, 'loss')
    assert len(part.call.output[1]) == 2 and not torch.equal(part.call.output[1], step.call.output[1][:2])
    assert torch.equal(part.again(other[:2]).call.output[1], part.call.output[1])


def test_a_block_ends_with_the_output_that_was_asked_for():
    layer, done = torch.nn.Linear(2, 2), []
    with recorded_outputs(layer, 2) as outputs:
        for value in range(3):
            layer(torch.full((1, 2), float(value)))
            done.append(value)
    assert done == [0] and len(outputs) == 2 and torch.equal(outputs[1], layer(torch.ones(1, 2)))
    assert not layer._forward_hooks
    with pytest.raises(ZeroDivisionError), recorded_outputs(layer, 1):
        raise ZeroDivisionError
    assert not layer._forward_hooks
