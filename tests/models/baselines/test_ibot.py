"""iBOT's losses, centres, schedules and teacher against formulas in NumPy."""

from math import erf

import numpy as np
import pytest
import torch
from helpers import tiny
from mmengine.optim import OptimWrapper

from aemim_mm.adapters import split_adapters
from aemim_mm.engine.optim import Bfloat16OptimWrapper
from aemim_mm.errors import UserError
from aemim_mm.replay import recorded_calls


def batch_of(model, **kwargs):
    return model.data_preprocessor(tiny.ibot_batch(**kwargs))


def teacher_of(model):
    return {name: value.clone() for name, value in model.teacher.state_dict().items()}


def scores(head, tokens):
    """Compute a head's scores of tokens in NumPy."""
    values = {name: value.detach().double().numpy() for name, value in head.named_parameters()}
    hidden = tokens.detach().double().numpy()
    for layer in (0, 2, 4):
        hidden = hidden @ values[f'projection.{layer}.weight'].T + values[f'projection.{layer}.bias']
        if layer < 4:
            hidden = hidden * (1 + np.vectorize(erf)(hidden / 2**0.5)) / 2
    directions = values['last_layer.weight']
    hidden = hidden / np.linalg.norm(hidden, axis=-1, keepdims=True)
    return hidden @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T


def softmax(values):
    values = np.exp(values - values.max(-1, keepdims=True))
    return values / values.sum(-1, keepdims=True)


def cross_entropy(target, logits):
    return -(target * np.log(softmax(logits))).sum(-1)


def formula(model, inputs, samples):
    """Compute the two losses and the next centres as in the paper, over all patches of all images."""
    count, centers = len(samples), model.centers.double().numpy()
    masks = torch.stack([sample.mask for sample in samples]).numpy().reshape(count, 2, -1)
    with torch.no_grad():
        teacher = [scores(model.teacher.head, model.teacher.backbone(view)[0]) for view in inputs[:2]]
        student = [
            scores(model.head, model.backbone(view, torch.from_numpy(masks[:, number]))[0])
            for number, view in enumerate(inputs[:2])
        ]
        student += [scores(model.head, model.backbone(view)[0]) for view in inputs[2:]]
    cls, patch = [], []
    for q in range(2):
        for v, view in enumerate(student):
            if v != q:
                target = softmax((teacher[q][:, 0] - centers[0]) / 0.04)
                cls.append(cross_entropy(target, view[:, 0] / 0.1).mean())
            else:
                target = softmax((teacher[q][:, 1:] - centers[1]) / 0.04)
                each = cross_entropy(target, view[:, 1:] / 0.1) * masks[:, q]
                patch.append((each.sum(1) / np.maximum(masks[:, q].sum(1), 1)).mean())
    both = np.concatenate(teacher)
    means = np.stack([both[:, 0].mean(0), both[:, 1:].mean((0, 1))])
    return np.mean(cls), np.mean(patch), 0.9 * centers + 0.1 * means


@pytest.mark.parametrize('crops', [0, 3])
def test_losses_and_centres_follow_the_formulas(crops):
    model = tiny.build_ibot(cls_weight=2.0, patch_weight=3.0)
    batch = batch_of(model, crops=crops)
    cls, patch, centers = formula(model, batch['inputs'], batch['data_samples'])
    losses = model.loss(**batch)
    assert losses.keys() == {'loss_cls', 'loss_patch'}
    assert losses['loss_cls'].item() == pytest.approx(2 * cls, rel=1e-5)
    assert losses['loss_patch'].item() == pytest.approx(3 * patch, rel=1e-5)
    np.testing.assert_allclose(model.centers.numpy(), centers, atol=1e-6)


def test_global_views_may_come_in_one_batch():
    losses = []
    for joined in (False, True):
        model = tiny.build_ibot()
        inputs, samples = batch_of(model).values()
        losses.append(model.loss([torch.cat(inputs[:2]), *inputs[2:]] if joined else inputs, samples))
    assert losses[0] == losses[1]


def test_without_hidden_patches_the_patch_loss_is_zero():
    model = tiny.build_ibot()
    batch = batch_of(model)
    for sample in batch['data_samples']:
        sample.mask = torch.zeros_like(sample.mask)
    losses = model.loss(**batch)
    assert losses['loss_patch'] == 0
    model.parse_losses(losses)[0].backward()
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)


def test_schedules_follow_the_progress_of_training(no_progress):
    model = tiny.build_ibot(teacher_temperature=[(0, 0.04), (0.25, 0.07)])
    assert (model.momentum, model.teacher_temperature) == (pytest.approx(0.996), 0.04)  # Without a Runner.
    for done in (0, 50, 250, 700, 1000):
        no_progress.update_info('iter', done)
        no_progress.update_info('max_iters', 1000)
        assert model.momentum == pytest.approx(1 - 0.004 * (np.cos(np.pi * done / 1000) + 1) / 2)
        assert model.teacher_temperature == pytest.approx(min(0.04 + 0.03 * done / 250, 0.07))


def test_the_teacher_follows_parameters_of_its_names(no_progress):
    """Adversarial adapters shift positions in the list of the student's parameters; the teacher has none."""
    model = tiny.build_ibot(momentum=0.9)
    split_adapters(model.backbone)
    no_progress.update_info('iter', 1)
    no_progress.update_info('max_iters', 2)
    before = teacher_of(model)
    with torch.no_grad():
        for value in model.backbone.parameters():
            value.mul_(2)
    model.loss(**batch_of(model))
    student, after = model.state_dict(), teacher_of(model)
    assert before.keys() == after.keys() and not any(name.endswith('_adv') for name in before)
    for name, value in before.items():
        expected = 0.95 * value.double().numpy() + 0.05 * student[name].double().numpy()
        np.testing.assert_allclose(after[name].numpy(), expected, atol=1e-6, err_msg=name)


def test_the_teacher_moves_once_for_each_step_of_the_optimizer():
    model = tiny.build_ibot(momentum=0.5)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3)
    moved = []
    for number in range(7):
        before = teacher_of(model)
        model.train_step(tiny.ibot_batch(seed=number), optim)
        moved.append(any(not torch.equal(value, before[name]) for name, value in teacher_of(model).items()))
    assert moved == [False, False, False, True, False, False, True]


def test_nothing_but_the_average_moves_the_teacher():
    model = tiny.build_ibot(momentum=1.0)
    before = teacher_of(model)
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5))
    for number in range(2):
        model.train_step(tiny.ibot_batch(seed=number), optim)
    assert not any(module.training for module in model.teacher.modules())
    assert all(value.grad is None and not value.requires_grad for value in model.teacher.parameters())
    for name, value in teacher_of(model).items():
        assert torch.equal(value, before[name]), name


def test_evaluation_changes_no_state():
    model = tiny.build_ibot(momentum=0.5)
    with torch.no_grad():
        model.backbone.cls_token.add_(1)
    model.eval()
    before = tiny.snapshot(model)
    model.loss(**batch_of(model))
    tiny.assert_same_snapshot(tiny.snapshot(model), before)


def test_hidden_patches_are_hidden_from_the_student_alone():
    model = tiny.build_ibot()
    batch = batch_of(model)
    with recorded_calls(model.backbone) as student, recorded_calls(model.teacher) as teacher:
        model.loss(**batch)
        hidden = torch.stack([sample.mask for sample in batch['data_samples']]).bool()
        for number in range(2):
            pixels = hidden[:, number].repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
            batch['inputs'][number] = batch['inputs'][number] + 5 * pixels
        model.loss(**batch)
    assert [tuple(call.args[0].shape) for call in student] == [(8, 3, 32, 32), (12, 3, 16, 16)] * 2
    assert torch.equal(student[0].output[0], student[2].output[0])
    assert len(teacher) == 2
    assert not torch.allclose(teacher[0].output.patches, teacher[1].output.patches, atol=1e-3)


def test_every_trainable_parameter_gets_a_gradient():
    model = tiny.build_ibot()
    model.parse_losses(model.loss(**batch_of(model)))[0].backward()
    for name, value in model.named_parameters():
        assert (value.grad is not None and value.grad.abs().max() > 0) == value.requires_grad, name


def test_bfloat16_is_near_to_float32():
    losses = []
    for wrapper in (OptimWrapper, Bfloat16OptimWrapper):
        model = tiny.build_ibot()
        log = model.train_step(tiny.ibot_batch(), wrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
        losses.append([log[name].item() for name in ('loss_cls', 'loss_patch')])
        assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.05)


def test_the_teacher_starts_as_the_student():
    model = tiny.build(tiny.ibot())
    student = model.state_dict()
    assert all(torch.equal(value, student[name]) for name, value in teacher_of(model).items())


def test_a_checkpoint_keeps_the_teacher_and_one_of_another_method_makes_it():
    model, other = tiny.build_ibot(), tiny.build_ibot(seed=1)
    other.load_state_dict(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    encoder = {name: value for name, value in model.state_dict().items() if name.startswith('backbone.')}
    other = tiny.build_ibot(seed=1)
    other.load_state_dict(encoder, strict=False)
    for name, value in encoder.items():
        assert torch.equal(other.state_dict()[f'teacher.{name}'], value), name


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(student_temperature=0), 'Temperatures are > 0, but got student_temperature=0'),
        (dict(teacher_temperature=[(0, 0.0), (1, 0.07)]), 'Temperatures are > 0'),
        (dict(momentum=1.1), 'momentum are in'),
        (dict(center_momentum=-0.1), 'momentum are in'),
    ],
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        tiny.build(tiny.ibot(**changes))


def test_bad_batches_are_refused():
    model = tiny.build_ibot()
    batch = batch_of(model)
    with pytest.raises(UserError, match='two global views of one size, but got .4, 3, 32, 32.'):
        model.loss(batch['inputs'][0], batch['data_samples'])
    with pytest.raises(UserError, match=r'two global views of one size, but got \(4, 3, 32, 32\), \(4, 3, 16, 16\)'):
        model.loss(batch['inputs'][1:], batch['data_samples'])
    with pytest.raises(UserError, match='Local crops have one size'):
        model.loss([*batch['inputs'], batch['inputs'][0]], batch['data_samples'])
    with pytest.raises(UserError, match=r'masks \(2, 4, 4\) for its global views, but got none'):
        model.loss(batch['inputs'], None)
    for sample in batch['data_samples']:
        sample.mask = sample.mask[:, :2]
    with pytest.raises(UserError, match=r'but got \(2, 2, 4\)'):
        model.loss(**batch)
