"""PGD-AT and TRADES against losses computed by hand, and what they are for: robust accuracy."""

import sys
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from helpers import processes, tiny
from helpers.trained import NORMALIZE, SmallConvNet, batch, images_and_labels, train, trained_classifier
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from aemim_mm.errors import UserError
from aemim_mm.models import AdversarialClassifier
from aemim_mm.robustness.sanity import accuracy_under, clean_accuracy
from aemim_mm.robustness.whitebox import WhiteBox


def adversarial(seed=0, normalize=NORMALIZE, channels=1, **changes):
    torch.manual_seed(seed)
    model = AdversarialClassifier(
        SmallConvNet(channels),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=32 * 7 * 7),
        data_preprocessor=dict(num_classes=10, **normalize),
        **changes,
    )
    model.init_weights()
    with torch.no_grad():
        model.head.fc.weight.mul_(10)  # The initial logits are nearly all the same.
    model.train()
    return model


def data_for(model, count=16):
    data = model.data_preprocessor(batch(count), True)
    return data['inputs'], data['data_samples'], torch.cat([sample.gt_label for sample in data['data_samples']])


def by_hand(model, inputs, objective, start):
    """PGD in pixels, with the model in eval mode and gradients of everything."""
    mean, std = NORMALIZE['mean'][0], NORMALIZE['std'][0]
    clean = inputs * std + mean
    at = start * std + mean
    model.eval()
    for _ in range(model.attack.steps):
        at = at.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(model((at - mean) / std)), at)
        moved = at.detach() + model.attack.step * gradient.sign()
        at = torch.minimum(torch.maximum(moved, clean - model.attack.eps), clean + model.attack.eps).clamp(0, 255)
    model.train()
    return (at - mean) / std


def gradients(model, loss):
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters()))))


def test_pgd_at_is_cross_entropy_on_adversarial_examples():
    model = adversarial(eps=8, steps=3, start='zero')
    inputs, samples, labels = data_for(model)
    untouched = deepcopy(model)  # A training pass moves the running statistics.
    losses = model.loss(inputs, samples)
    assert list(losses) == ['loss_adv']
    got = gradients(model, losses['loss_adv'])
    model = untouched
    x_adv = by_hand(model, inputs, lambda logits: F.cross_entropy(logits, labels, reduction='sum'), inputs)
    expected = F.cross_entropy(model(x_adv), labels)
    torch.testing.assert_close(losses['loss_adv'], expected, atol=1e-5, rtol=1e-5)
    assert expected > F.cross_entropy(model(inputs), labels) * 1.05
    # The gradients of the final pass, and of no other.
    for name, gradient in gradients(model, expected).items():
        torch.testing.assert_close(got[name], gradient, atol=1e-5, rtol=1e-3)


def test_trades_is_the_clean_loss_and_a_weighted_divergence():
    model = adversarial(loss='trades', eps=8, steps=3, beta=3.0)
    inputs, samples, labels = data_for(model)
    untouched = deepcopy(model)
    torch.manual_seed(4)
    losses = model.loss(inputs, samples)
    assert list(losses) == ['loss_clean', 'loss_trades']
    got = gradients(model, sum(losses.values()))
    model = untouched
    torch.manual_seed(4)
    eps = torch.tensor(8 / NORMALIZE['std'][0])
    start = inputs + (torch.rand_like(inputs) * 2 - 1) * eps
    mean, std = NORMALIZE['mean'][0], NORMALIZE['std'][0]
    start = start.clamp((0 - mean) / std, (255 - mean) / std)

    def divergence(logits, clean):
        return (clean.exp() * (clean - logits.log_softmax(1))).sum()

    model.eval()
    with torch.no_grad():
        clean = model(inputs).log_softmax(1)
    x_adv = by_hand(model, inputs, lambda logits: divergence(logits, clean), start)
    logits = model(inputs)
    expected = F.cross_entropy(logits, labels), 3 * divergence(model(x_adv), logits.log_softmax(1)) / len(inputs)
    torch.testing.assert_close(losses['loss_clean'], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses['loss_trades'], expected[1], atol=1e-5, rtol=1e-3)
    for name, gradient in gradients(model, sum(expected)).items():
        torch.testing.assert_close(got[name], gradient, atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize('attack_mode', ['eval', 'train'])
@pytest.mark.parametrize('normalize', [NORMALIZE, tiny.NORMALIZE, {}], ids=['one', 'ImageNet', 'none'])
def test_the_attack_keeps_its_budget_and_leaves_no_trace(attack_mode, normalize):
    channels = 1 if normalize is NORMALIZE else 3
    model = adversarial(normalize=normalize, channels=channels, eps=6, steps=3, attack_mode=attack_mode)
    model.backbone.layers[1].eval()
    images = tiny.pixels(8, (28, 28), channels).round()
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    before = tiny.snapshot(model)
    x_adv = model.perturb(inputs, torch.arange(8), lambda logits, labels: F.cross_entropy(logits, labels))
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    scale, shift = (model.data_preprocessor.std, model.data_preprocessor.mean) if normalize else (1, 0)
    pixels = x_adv * scale + shift
    assert 5.9 < (pixels - images).abs().max() <= 6.001
    assert pixels.min() >= -1e-3 and pixels.max() <= 255.001
    assert not x_adv.requires_grad


def test_the_attacks_mode_is_what_the_modules_see():
    seen = []
    for attack_mode in ('eval', 'train'):
        model = adversarial(steps=2, attack_mode=attack_mode)
        handle = model.backbone.register_forward_pre_hook(lambda module, _: seen.append(module.layers[1].training))
        model.loss(*data_for(model)[:2])
        handle.remove()
    assert seen == [False, False, True] + [True] * 3


HALF, WHOLE = torch.bfloat16, torch.float32


@pytest.mark.parametrize('loss', ['pgd_at', 'trades'])
@pytest.mark.parametrize(
    ('name', 'training', 'in_attack'),
    [
        (None, HALF, WHOLE),
        ('float32', HALF, WHOLE),
        ('auto', HALF, HALF),
        ('auto', WHOLE, WHOLE),
        ('bfloat16', WHOLE, HALF),
        ('bfloat16', HALF, HALF),
    ],
)
def test_the_attack_equals_one_in_its_precision(loss, name, training, in_attack):
    """The oracle is the attack of a model without autocast, run under an autocast of the test."""
    model = adversarial(loss=loss, steps=2, **dict(attack_precision=name) if name else {})
    inputs, _, labels = data_for(model)
    if loss == 'trades':
        labels = F.one_hot(labels, 10).float()
    objective = torch.nn.functional.cross_entropy
    types = []
    handle = model.head.fc.register_forward_hook(lambda module, _, output: types.append(output.dtype))

    def perturbed(attacker, dtype):
        torch.manual_seed(7)
        with torch.autocast('cpu', dtype=HALF, enabled=dtype is HALF):
            return attacker.perturb(inputs, labels, objective)

    got = perturbed(model, training)
    handle.remove()
    assert types == [in_attack] * 2
    assert got.dtype == WHOLE
    expected = perturbed(adversarial(loss=loss, steps=2, attack_precision='auto'), in_attack)
    assert torch.equal(got, expected)
    other = perturbed(adversarial(loss=loss, steps=2, attack_precision='auto'), WHOLE if in_attack is HALF else HALF)
    assert not torch.equal(got, other)


def test_the_target_of_trades_has_the_precision_of_the_attack():
    model = adversarial(loss='trades', steps=1, attack_precision='bfloat16')
    types = []
    model.head.fc.register_forward_hook(lambda module, _, output: types.append(output.dtype))
    model.loss(*data_for(model)[:2])
    assert types[:2] == [HALF] * 2 and set(types[2:]) == {WHOLE}


def test_soft_labels_of_mixup_are_the_attacks_target():
    model = adversarial(eps=8, steps=2, start='zero')
    model.head.loss_module = MODELS.build(dict(type='CrossEntropyLoss', use_soft=True))
    inputs, _, labels = data_for(model)
    scores = 0.6 * F.one_hot(labels, 10) + 0.4 * F.one_hot(labels.flip(0), 10)
    samples = [DataSample().set_gt_score(score) for score in scores]
    untouched = deepcopy(model)
    loss = model.loss(inputs, samples)['loss_adv']
    model = untouched

    def cross_entropy(logits):
        return -(scores * logits.log_softmax(1)).sum()

    x_adv = by_hand(model, inputs, cross_entropy, inputs)
    torch.testing.assert_close(loss, cross_entropy(model(x_adv)) / len(inputs), atol=1e-5, rtol=1e-5)


def test_without_a_budget_it_is_plain_training():
    model = adversarial(eps=0)
    inputs, samples, labels = data_for(model)
    torch.testing.assert_close(model.loss(inputs, samples)['loss_adv'], F.cross_entropy(model(inputs), labels))


@pytest.mark.parametrize('loss', ['pgd_at', 'trades'])
def test_robust_accuracy_is_above_that_of_plain_training(loss):
    images, labels = images_and_labels('test', 300)
    plain = trained_classifier()
    batches = [(plain.data_preprocessor(dict(inputs=images))['inputs'], labels)]
    robust = train(adversarial(loss=loss, eps=12, steps=3), epochs=6)
    before, after = (accuracy_under(model, WhiteBox(12, steps=20, restarts=2), batches) for model in (plain, robust))
    clean = clean_accuracy(robust, batches)
    print(f'{loss}: PGD-20 at 12 pixels {before:.1f} -> {after:.1f}, clean {clean:.1f}')
    assert after > before + 15
    assert clean > 65


def test_trains_through_the_runner(tmp_path):
    model = adversarial(loss='trades', steps=2)
    loader = dict(
        batch_size=50,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='DemoFashionMNIST', split='train', limit=400, pipeline=[dict(type='PackInputs')]),
    )
    test = dict(loader, dataset=dict(loader['dataset'], split='test', test_mode=True))
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=loader,
        val_dataloader=test,
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        val_cfg={},
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=3),
        optim_wrapper=OptimWrapper(torch.optim.Adam(model.parameters(), lr=2e-3)),
        default_scope='mmpretrain',
        experiment_name=f'adversarial {tmp_path}',
        log_level='ERROR',
    )
    runner.train()
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() > 50
    losses = runner.message_hub.get_scalar('train/loss_clean').data[0]
    assert losses[-4:].mean() < 0.7 * losses[0]


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(loss='at'), "Unknown loss 'at'. Known: pgd_at, trades"),
        (dict(attack_mode='test'), "Unknown attack_mode 'test'"),
        (dict(attack_precision='fp16'), "Unknown attack_precision 'fp16'. Known: auto, bfloat16, float32"),
        (dict(start='one'), "Unknown start 'one'"),
        (dict(eps=8 / 255), 'For a fraction such as 8/255, pass 8'),
        (dict(step_size=300), 'step_size is in pixels'),
        (dict(steps=0), 'steps is a whole number >= 1'),
        (dict(beta=-1), 'beta is >= 0'),
        (dict(loss='trades', start='zero'), 'has no gradient'),
    ],
)
def test_bad_values(changes, message):
    with pytest.raises(UserError) as error:
        adversarial(**changes)
    assert message in str(error.value)


def test_is_registered_and_predicts_as_the_stock_model():
    model = adversarial()
    stock = nn.Module.eval(
        MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=model.backbone,
                head=model.head,
                data_preprocessor=model.data_preprocessor,
            )
        )
    )
    model.eval()
    assert MODELS.get('AdversarialClassifier') is AdversarialClassifier
    for got, expected in zip(model.test_step(batch(8)), stock.test_step(batch(8))):
        assert torch.equal(got.pred_score, expected.pred_score)


DISTRIBUTED = """
import sys, torch, torch.distributed as dist
sys.path[:0] = {path!r}
import aemim_mm
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from models.test_adversarial_training import adversarial, halves
dist.init_process_group('gloo')
for loss in ('pgd_at', 'trades'):
    model = MMDistributedDataParallel(adversarial(loss=loss, eps=8, steps=2))
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    torch.manual_seed(3)
    model.train_step(halves()[dist.get_rank()], optimizer)
    if dist.get_rank() == 0:
        torch.save([parameter.detach() for parameter in model.parameters()], {folder!r} + '/' + loss)
"""


def halves():
    """A batch in two, as two processes get it."""
    data = batch(16)
    return [
        dict(inputs=data['inputs'][part], data_samples=data['data_samples'][part]) for part in (slice(8), slice(8, 16))
    ]


@pytest.mark.slow
def test_two_processes_take_the_step_of_the_mean_gradient(tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(DISTRIBUTED.format(path=[path for path in sys.path if path], folder=str(tmp_path)))
    processes.torchrun(script)
    for loss in ('pgd_at', 'trades'):
        parts = []
        for half in halves():
            model = adversarial(loss=loss, eps=8, steps=2)
            torch.manual_seed(3)
            total = sum(model.loss(**model.data_preprocessor(half, True)).values())
            parts.append(gradients(model, total).values())
        model = adversarial(loss=loss)
        expected = [p - 0.1 * (a + b) / 2 for p, a, b in zip(model.parameters(), *parts)]
        for got, value in zip(torch.load(tmp_path / loss, weights_only=True), expected):
            torch.testing.assert_close(got, value, atol=1e-5, rtol=1e-4)
