"""Replayed randomness and recorded calls."""

import random

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from aemim_mm.errors import UserError
from aemim_mm.replay import (
    Pass,
    RecordedRandomness,
    outputs_given_back,
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
    random.seed(3)
    expected = torch.rand(5), torch.randn(5), torch.randperm(9), torch.rand(4)
    numbers = random.random(), random.random()

    torch.manual_seed(3)
    random.seed(3)
    randomness = RecordedRandomness()
    first = torch.rand(5), torch.randn(5)
    assert random.random() == numbers[0]
    for _ in range(2):
        with randomness.replayed():
            assert random.random() == numbers[0]
            assert torch.equal(torch.rand(5), expected[0])
            assert torch.equal(torch.randn(5), expected[1])
            torch.rand(100)
    rest = torch.randperm(9), torch.rand(4)
    assert random.random() == numbers[1]
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


def test_all_calls_are_recorded_until_the_end_of_the_block():
    encoder, x = MaskedEncoder(), torch.randn(4, 6)
    with recorded_calls(encoder) as calls:
        encoder(x), encoder(x)
    encoder(x)
    assert len(calls) == 2
    with pytest.raises(RuntimeError), recorded_calls(encoder):
        encoder(torch.randn(4, 5))
    assert not encoder._forward_hooks and not encoder._forward_pre_hooks


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


class Algorithm(nn.Module):
    """The seams that a pass reads, and a loss that draws random numbers around the encoder's call."""

    attack_layer = ''

    def __init__(self):
        super().__init__()
        self.backbone, self.target = MaskedEncoder(), nn.Linear(6, 6)
        self.target_networks = [self.target]

    def attacked_images(self, inputs):
        return inputs[0] if isinstance(inputs, list) else inputs

    def with_attacked_images(self, inputs, images):
        return [images, inputs[1]] if isinstance(inputs, list) else images

    def loss(self, inputs, data_samples, scale):
        noise, images = torch.rand(1), self.attacked_images(inputs)
        weight = self.target(images).mean()
        features, mask = self.backbone(images * 1)  # Not the images themselves.
        return dict(loss=scale * features.sum() * weight, loss_noise=noise.sum() * sum(data_samples), seen=mask)


def test_a_pass_repeats_a_loss_with_other_images_and_the_same_mask():
    torch.manual_seed(0)
    model, x, other, samples = Algorithm().train(), torch.randn(4, 6), torch.randn(4, 6), [1, 2, 3, 4]
    step = Pass(model.loss, model, x, samples, scale=3)
    torch.rand(7)
    again = step.again(other)
    assert torch.equal(again.call.output[1], step.call.output[1]) and again.images is other
    assert torch.equal(step.again(x).loss, step.loss) and torch.equal(step.log['seen'], step.call.output[1])
    with step.randomness.replayed():
        expected = model.loss(other, samples, 3)
    assert torch.equal(again.loss, expected['loss'] + expected['loss_noise'])
    with step.randomness.replayed():
        assert torch.equal(step.encode(other)[0], again.call.output[0])

    part = step.first(2)
    assert part.images.tolist() == x[:2].tolist() and part.data_samples == [1, 2] and not hasattr(part, 'loss')
    assert len(part.call.output[1]) == 2 and not torch.equal(part.call.output[1], step.call.output[1][:2])
    assert torch.equal(part.again(other[:2]).call.output[1], part.call.output[1])
    assert [output.tolist() for output in part.targets[model.target]] == [step.targets[model.target][0][:2].tolist()]


def test_a_pass_takes_the_attacked_view_out_of_the_inputs():
    model, x, other, second = Algorithm().eval(), torch.randn(4, 6), torch.randn(4, 6), torch.randn(4, 2)
    step = Pass(model.loss, model, [x, second], [1], scale=1)
    again = step.again(other)
    assert again.images is other and again.inputs[1] is second
    assert step.first(3).inputs[1].tolist() == second[:3].tolist()


def test_a_loss_that_does_not_call_its_backbone_is_a_clear_error():
    model = Algorithm()
    with pytest.raises(UserError, match='The loss of Algorithm does not call its backbone'):
        Pass(lambda *_: dict(loss=torch.zeros(())), model, torch.randn(4, 6), None)


def test_outputs_are_given_back_in_order():
    layer, values = nn.Linear(1, 1), [torch.zeros(1), torch.ones(1)]
    with outputs_given_back({layer: values}):
        assert [layer(torch.rand(1)) for _ in range(2)] == values
    with outputs_given_back({layer: values}, lambda old, new: (old, new)):
        old, new = layer(torch.ones(1))
    assert old is values[0] and torch.equal(new, layer(torch.ones(1)))
    assert 'forward' not in vars(layer)


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
