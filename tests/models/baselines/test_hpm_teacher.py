"""The teacher of HPM is a moving average of HPM, and moves once for each step of the optimizer."""

import numpy as np
import pytest
import torch
from helpers import tiny
from mmengine.optim import OptimWrapper


def teacher_of(model):
    return {name: value.clone() for name, value in model.teacher.state_dict().items()}


@pytest.mark.parametrize(('epoch', 'momentum'), [(0, 0.999), (5, 0.99945), (10, 0.9999), (99, 0.9999)])
def test_the_teacher_is_a_moving_average(epoch, momentum, training):
    model = tiny.build_hpm(momentum=[(0, 0.999), (0.1, 0.9999)])
    training(epoch)
    before = teacher_of(model)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * value.requires_grad)
    model.loss(tiny.images(model), None)
    student, after = model.state_dict(), teacher_of(model)
    for name, value in before.items():
        expected = momentum * value.double().numpy() + (1 - momentum) * student[name].double().numpy()
        np.testing.assert_allclose(after[name].numpy(), expected, atol=1e-6, err_msg=name)
        assert name.endswith('pos_embed') or not torch.equal(after[name], value), name


def batch(seed):
    return dict(inputs=tiny.pixels(seed=seed), data_samples=None)


@pytest.mark.parametrize('config', [tiny.hpm, tiny.aehpm])
def test_the_teacher_moves_once_for_each_step_of_the_optimizer(config):
    model = tiny.build(config(momentum=0.5))
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3)
    moved = []
    for number in range(7):
        before, student = teacher_of(model), model.state_dict()
        halfway = {name: 0.5 * value + 0.5 * student[name] for name, value in before.items()}
        model.train_step(batch(number), optim)
        after = teacher_of(model)
        moved.append(not torch.equal(after['backbone.cls_token'], before['backbone.cls_token']))
        for name, value in (halfway if moved[-1] else before).items():
            torch.testing.assert_close(after[name], value, msg=name)
    assert moved == [False, False, False, True, False, False, True]
    assert all(value.grad is None for value in model.teacher.parameters())
    assert not any(name.endswith('_adv') for name in after)


def test_evaluation_changes_no_state():
    model = tiny.build_hpm(momentum=0.5)
    with torch.no_grad():
        model.backbone.cls_token.add_(1)
    model.eval()
    before = tiny.snapshot(model)
    model.loss(tiny.images(model), None)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)


def test_the_teacher_starts_as_the_student():
    model = tiny.build(tiny.hpm())
    student = model.state_dict()
    assert all(torch.equal(value, student[name]) for name, value in teacher_of(model).items())
