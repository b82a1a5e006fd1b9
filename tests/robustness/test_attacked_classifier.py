"""A model under attack: it is left as it was, the budget holds for every normalisation, and mmengine's loop runs it."""

import sys

import pytest
import torch
from helpers import processes, tiny
from helpers.trained import SmallConvNet, batch, classifier, trained_classifier
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, BaseModule
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from aemim_mm.errors import UserError
from aemim_mm.robustness.attacked_classifier import ATTACKS, AttackedModel, build_attack, labels_of
from aemim_mm.robustness.pixels import PixelClassifier, left_as_it_was
from aemim_mm.robustness.whitebox import WhiteBox, feature_pgd, fgsm

NORMALIZATIONS = {
    'single channel': dict(mean=[73.0], std=[90.0]),
    'ImageNet': tiny.NORMALIZE,
    'per channel': dict(mean=[0.0, 255.0, 10.0], std=[1.0, 255.0, 0.3]),
    'none': {},
}


@pytest.fixture
def model():
    """In a state that no attack may assume: some parts in training mode, some frozen, some with gradients."""
    model = trained_classifier()
    model.train()
    model.backbone.layers[1].eval()
    model.backbone.layers[0].weight.requires_grad_(False)
    model.head.fc.weight.grad = torch.ones_like(model.head.fc.weight)
    return model


def test_training_mode_gradients_and_buffers_are_as_before(model):
    before = tiny.snapshot(model)
    gradient = model.head.fc.weight.grad
    data = batch(16)
    for attack in (
        fgsm(8),
        WhiteBox(8, steps=3),
        WhiteBox(0.5, 'l2', steps=2, restarts=2),
        feature_pgd(8, steps=2),
    ):
        AttackedModel(model, attack).test_step(batch(16))
        tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert model.head.fc.weight.grad is gradient
    assert data['inputs'].equal(batch(16)['inputs'])


def test_also_after_an_exception(model):
    before, state = tiny.snapshot(model), torch.get_rng_state()
    with torch.no_grad(), pytest.raises(RuntimeError, match='in the middle'), left_as_it_was(model, seed=1):
        torch.rand(3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(1)
                module.running_var = torch.zeros(1)
        for parameter in model.parameters():
            parameter.requires_grad_(True)
            parameter.grad = torch.ones_like(parameter)
        model.train()
        raise RuntimeError('in the middle')
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_inside_gradients_are_on_for_inputs_only_in_float32_and_eval_mode(model):
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        with left_as_it_was(model):
            assert torch.is_grad_enabled() and not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert not torch.is_grad_enabled()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert torch.is_grad_enabled() and (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_random_numbers_outside_go_on_and_inside_are_seeded(model):
    attacked = AttackedModel(model, WhiteBox(8, steps=2))
    inputs = model.data_preprocessor(batch(8))['inputs']
    labels = labels_of(batch(8)['data_samples'])
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    first = attacked.perturb(inputs, labels).x_adv
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(attacked.perturb(inputs, labels).x_adv, first)
    attacked.seed = 1
    assert not torch.equal(attacked.perturb(inputs, labels).x_adv, first)


@pytest.mark.parametrize('outside', [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_and_autocast_do_not_change_the_attack(model, outside):
    attacked = AttackedModel(model, WhiteBox(8, steps=3))
    expected = attacked.perturb(model.data_preprocessor(batch(8))['inputs'], labels_of(batch(8)['data_samples']))
    with outside(), torch.autocast('cpu', dtype=torch.bfloat16):
        data = model.data_preprocessor(batch(8))
        got = attacked.perturb(data['inputs'], labels_of(data['data_samples']))
    assert torch.equal(got.x_adv, expected.x_adv) and torch.equal(got.attempt, expected.attempt)


def random_model(normalization):
    """On colour images unless the normalisation is for one channel."""
    channels = 1 if normalization == 'single channel' else 3
    model = classifier(channels, normalize=NORMALIZATIONS[normalization])
    return model, channels


@settings(max_examples=40, deadline=None)
@given(
    normalization=st.sampled_from(sorted(NORMALIZATIONS)),
    attack=st.sampled_from(['fgsm', 'pgd', 'feature']),
    norm=st.sampled_from(['linf', 'l2']),
    eps=st.floats(0.5, 200),
    kind=st.sampled_from(['8 bits', 'rounded', 'whole', 'resized']),
    seed=st.integers(0, 1000),
)
def test_the_budget_holds_for_every_normalization(normalization, attack, norm, eps, kind, seed):
    model, channels = random_model(normalization)
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(4, channels, 28, 28, generator=generator) * 300 - 20).clamp(0, 255)
    images = images if kind == 'resized' else images.to(torch.uint8)
    quantize = kind in ('8 bits', 'rounded') or (kind == 'resized' and norm == 'linf')
    eps = eps if norm == 'linf' else eps / 50
    attacked = AttackedModel(model, dict(type=attack, eps=eps, norm=norm), quantize=quantize)
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    # Labels as predicted, so that nothing is left out.
    x_adv = attacked.perturb(inputs, eval_classes(model, inputs)).x_adv
    clean = images.float()
    delta = (x_adv - clean).abs()
    size, radius = (delta.max(), eps) if norm == 'linf' else (delta.flatten(1).norm(dim=1).max(), eps * 255)
    assert size <= radius * (1 + 1e-5) + 2e-3 * (kind == 'resized')
    assert x_adv.min() >= 0 and x_adv.max() <= 255
    if quantize:
        assert torch.equal(x_adv, x_adv.to(torch.uint8).float())
    # The same image as the model sees it comes back as the same pixels, which is what the next user measures.
    if kind != 'resized':
        assert torch.equal(PixelClassifier(model).to_pixels(inputs), clean)


def eval_classes(model, inputs):
    with left_as_it_was(model), torch.no_grad():
        return model(inputs, mode='tensor').argmax(1)


def test_the_attack_is_not_idle(model):
    """The budget tests would pass without any attack: the whole radius is used, and accuracy falls."""
    data = model.data_preprocessor(batch(64))
    result = AttackedModel(model, fgsm(8)).perturb(data['inputs'], labels_of(data['data_samples']))
    delta = (result.x_adv - batch(64)['inputs']).abs().flatten(1).amax(1)
    assert torch.equal(delta[result.attempt != 0], torch.full_like(delta[result.attempt != 0], 8))
    assert not delta[result.attempt == 0].any()
    assert (result.attempt == 1).float().mean() > 0.3


def test_eps_zero_gives_the_classifiers_own_predictions_bit_for_bit(model):
    model.eval()
    for attack in (fgsm(0), WhiteBox(0), WhiteBox(0, 'l2')):
        expected = model.test_step(batch())
        got = AttackedModel(model, attack, quantize=True).test_step(batch())
        assert all(torch.equal(a.pred_score, b.pred_score) for a, b in zip(got, expected))


def test_predictions_are_the_classifiers_for_the_perturbed_images(model):
    model.eval()
    attacked = AttackedModel(model, WhiteBox(8, steps=3))
    data = model.data_preprocessor(batch())
    result = attacked.perturb(data['inputs'], labels_of(data['data_samples']))
    expected = model.test_step(dict(batch(), inputs=result.x_adv))
    got = attacked.test_step(batch())
    for sample, other, success, truth in zip(got, expected, result.success, labels_of(data['data_samples'])):
        torch.testing.assert_close(sample.pred_score, other.pred_score, atol=1e-5, rtol=0)
        assert (sample.pred_label.item() != truth) == success
        assert (sample.broken_by == 'none') == (not success)


class Colours(BaseModule):
    """Flattened pixels."""

    def forward(self, x):
        return (x.flatten(1),)


def test_colour_order_is_the_models():
    """The gradient's sign by channel tells that pixels are perturbed as the model sees them, in RGB."""
    model = ImageClassifier(
        Colours(),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=3),
        data_preprocessor=dict(to_rgb=True, mean=[10.0, 20.0, 30.0], std=[1.0, 2.0, 3.0]),
    )
    with torch.no_grad():
        model.head.fc.weight.copy_(torch.tensor([[-1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
        model.head.fc.bias.copy_(torch.tensor([27.0, 0.0]))  # The logit of class 0 is 0.33.
    bgr = torch.tensor([100, 100, 100], dtype=torch.uint8).reshape(1, 3, 1, 1)
    inputs = model.data_preprocessor(dict(inputs=bgr))['inputs']
    x_adv = AttackedModel(model, fgsm(8)).perturb(inputs, torch.tensor([0])).x_adv
    assert x_adv.flatten().tolist() == [108, 92, 92]


def test_runs_in_mmengines_loop_from_the_classifiers_checkpoint(tmp_path):
    model = trained_classifier()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'classifier.pth')
    attacked = AttackedModel(classifier(seed=3), dict(type='pgd', eps=4, steps=3, restarts=2))
    dataset = dict(type='DemoFashionMNIST', split='test', limit=100, test_mode=True, pipeline=[dict(type='PackInputs')])
    loader = dict(batch_size=30, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False))
    runner = Runner(
        attacked,
        str(tmp_path),
        test_dataloader=loader,
        test_evaluator=[dict(type='Accuracy', topk=(1,)), dict(type='RobustAccuracy')],
        test_cfg={},
        load_from=str(tmp_path / 'classifier.pth'),
        default_scope='mmpretrain',
        experiment_name='attacked',
        log_level='ERROR',
    )
    metrics = runner.test()
    data = model.data_preprocessor(batch(100))
    result = AttackedModel(model, WhiteBox(4, steps=3, restarts=2)).perturb(
        data['inputs'], labels_of(data['data_samples'])
    )
    clean = 100 - 100 * (result.attempt == 0).float().mean().item()
    assert metrics['robust_accuracy/clean'] == pytest.approx(clean)
    # Random starts depend on where an image stands in its batch.
    assert metrics['accuracy/top1'] == pytest.approx(100 - 100 * result.success.float().mean().item(), abs=2)
    assert metrics['robust_accuracy/robust'] == pytest.approx(metrics['accuracy/top1'])
    steps = [metrics[f'robust_accuracy/{name}'] for name in ('clean', 'after_pgd-1', 'after_pgd-2', 'robust')]
    assert steps == sorted(steps, reverse=True) and steps[0] > steps[1] and steps[2] == steps[3]


def test_a_checkpoint_of_either_kind_loads():
    model = trained_classifier()
    for source in (model, AttackedModel(model, fgsm(1))):
        attacked = AttackedModel(classifier(seed=3), fgsm(1))
        attacked.load_state_dict(source.state_dict(), strict=True)
        tiny.assert_same_snapshot(dict(attacked.classifier.state_dict()), dict(model.state_dict()))


def test_is_built_from_a_config():
    config = dict(
        type='ImageClassifier',
        backbone=dict(type='VisionTransformer', arch=tiny.ARCH, img_size=32, patch_size=8),
        head=dict(type='VisionTransformerClsHead', num_classes=5, in_channels=32),
        data_preprocessor=dict(tiny.NORMALIZE),
    )
    attacked = MODELS.build(dict(type='AttackedModel', classifier=config, attack=dict(type='pgd', eps=4, steps=2)))
    samples = [DataSample().set_gt_label(1) for _ in range(4)]
    predictions = attacked.test_step(dict(inputs=tiny.pixels().to(torch.uint8), data_samples=samples))
    assert all(sample.pred_score.shape == (5,) for sample in predictions)


DISTRIBUTED = """
import os, sys, torch, torch.distributed as dist
sys.path[:0] = {path!r}
import aemim_mm
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import METRICS
from helpers.trained import batch, trained_classifier
from aemim_mm.robustness.attacked_classifier import AttackedModel, RobustAccuracy
from aemim_mm.robustness.whitebox import fgsm
dist.init_process_group('gloo')
model = MMDistributedDataParallel(AttackedModel(trained_classifier(), fgsm(4)))
data = batch(64)
part = dict(inputs=data['inputs'][dist.get_rank()::2], data_samples=data['data_samples'][dist.get_rank()::2])
metric = RobustAccuracy(collect_device='cpu')
with torch.no_grad():
    metric.process(None, [sample.to_dict() for sample in model.test_step(part)])
result = metric.evaluate(64)
if dist.get_rank() == 0:
    print('RESULT', result['robust_accuracy/clean'], result['robust_accuracy/robust'])
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(DISTRIBUTED.format(path=[path for path in sys.path if path]))
    done = processes.torchrun(script)
    clean, robust = (float(word) for word in done.stdout.split('RESULT')[1].split()[:2])
    data = batch(64)
    attempts = [sample.broken_by for sample in AttackedModel(trained_classifier(), fgsm(4)).test_step(data)]
    assert clean == 100 * sum(by != 'clean' for by in attempts) / 64
    assert robust == 100 * sum(by == 'none' for by in attempts) / 64 < clean


def test_images_that_are_not_in_pixels_are_refused():
    scaled = dict(batch(), inputs=batch()['inputs'] / 255)
    with pytest.raises(UserError, match='images are from 0 to 1, not pixels'):
        AttackedModel(trained_classifier(), fgsm(4)).test_step(scaled)
    normalized = dict(batch(), inputs=(batch()['inputs'] - 73.0) / 90)
    with pytest.raises(UserError, match='Take Normalize and ToTensor out of the pipeline'):
        AttackedModel(trained_classifier(), fgsm(4)).test_step(normalized)


def test_a_preprocessor_without_a_stated_normalization_is_refused():
    model = classifier()
    model.data_preprocessor = BaseDataPreprocessor()
    with pytest.raises(UserError, match='BaseDataPreprocessor states none. Use ClsDataPreprocessor'):
        PixelClassifier(model)


def test_labels_that_the_classifier_does_not_know_are_refused():
    model = classifier(classes=5)
    with pytest.raises(UserError, match='has the label 9, but the classifier has 5 classes, from 0 to 4'):
        AttackedModel(model, fgsm(4)).test_step(batch())


def test_missing_and_several_labels_are_refused():
    for sample in (DataSample(), DataSample().set_gt_label([1, 2])):
        with pytest.raises(UserError, match='one label for each image'):
            labels_of([sample])


def test_a_model_without_logits_is_refused():
    model = ImageClassifier(SmallConvNet(), data_preprocessor=dict(mean=[73.0], std=[90.0]))
    with pytest.raises(UserError, match=r'logits of a classifier, \(B, classes\), but ImageClassifier gives tuple'):
        AttackedModel(model, fgsm(4)).test_step(batch())


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(type='deepfool', eps=1), f"Unknown attack 'deepfool'. Known: {', '.join(sorted(ATTACKS))}"),
        (dict(eps=1), 'Unknown attack None'),
        (dict(type='pgd', eps=4, epsilon=1), "Unknown field of attack pgd 'epsilon'"),
        (dict(type='pgd'), 'The attack pgd has no eps'),
        (dict(type='fgsm', eps=0.03), 'For a fraction such as 8/255, pass 8'),
        (dict(type='pgd', eps=4, norm='l3'), "norm 'l3'"),
        (dict(type='pgd', eps=4, steps=-1), 'steps is a whole number >= 0'),
        (dict(type='pgd', eps=4, restarts=0), 'restarts is a whole number >= 1'),
        (dict(type='pgd', eps=4, restarts=2, start='zero'), 'need a random start'),
        (dict(type='pgd', eps=4, start='one'), "start 'one'"),
        (dict(type='pgd', eps=4, step_size=-1), 'step_size is in pixels, 0-255, but got -1'),
        (dict(type='pgd', eps=4, momentum=-1), 'momentum is >= 0'),
        (dict(type='pgd', eps=4, loss='l2'), "loss 'l2'. Known: ce, margin"),
        (dict(type='feature', eps=4, loss='ce'), "distance 'ce'"),
        (dict(type='feature', eps=4, start='zero'), 'no gradient at zero'),
    ],
)
def test_bad_attacks_get_one_clear_error(config, message):
    with pytest.raises(UserError) as error:
        build_attack(config)
    assert message in str(error.value)


def test_a_config_file_gives_the_attack(tmp_path):
    (tmp_path / 'c.py').write_text("attack = dict(type='pgd', eps=4, steps=7, loss='margin')")
    assert build_attack(Config.fromfile(tmp_path / 'c.py').attack) == WhiteBox(4, steps=7, loss='margin')
