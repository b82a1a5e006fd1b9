"""An encoder under attack in the loop: each image's figures, rounding, and images that are always the same."""

import numpy as np
import pytest
import torch
from helpers import hosts, tiny
from helpers.trained import batch, trained_classifier
from hypothesis import given, settings
from hypothesis import strategies as st

from aemim_mm.attacks import PixelSpace
from aemim_mm.datasets import DemoFashionMNIST
from aemim_mm.errors import UserError
from aemim_mm.evaluation.metrics import accuracy_interval, grouped_interval
from aemim_mm.robustness.attacked_encoder import AttackedEncoder, EncoderMetric, Seeded
from aemim_mm.robustness.encoder_attacks import (
    feature_attack,
    features_in_training,
    reconstruction_attack,
    reconstruction_loss,
)
from aemim_mm.robustness.pixels import PixelClassifier
from aemim_mm.robustness.whitebox import WhiteBox, feature_pgd

MIM = dict(inputs=tiny.pixels().round(), data_samples=None)


def normalized(model):
    return model.data_preprocessor(MIM)['inputs']


def test_how_far_the_features_of_a_classifier_move():
    model = trained_classifier()
    before = tiny.snapshot(model)
    got = AttackedEncoder(model, dict(type='features', eps=4, steps=5)).test_step(batch(8))
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    inputs = model.data_preprocessor(batch(8))['inputs']
    target = PixelClassifier(model)
    pixels = target.to_pixels(inputs)
    for name, steps in (('noise', 0), ('attack', 5)):
        x_adv = feature_attack(model, inputs, feature_pgd(4, steps=steps)).x_adv
        clean, moved = (target.features(images).flatten(1).detach().numpy() for images in (pixels, x_adv))
        expected = 100 * np.linalg.norm(moved - clean, axis=1) / np.linalg.norm(clean, axis=1)
        assert [sample[name] for sample in got] == pytest.approx(expected, rel=1e-3)
    assert all(sample['attack'] > sample['noise'] > sample['before'] == 0 for sample in got)
    assert len({sample['group'] for sample in got}) == 8


@pytest.mark.parametrize('config', [tiny.mae(), tiny.aemim()], ids=['MAE', 'AEMIM'])
def test_the_features_of_a_pre_training_model_are_those_of_its_training(config):
    model = tiny.build(config)
    model.eval()
    inputs = normalized(model)
    features = features_in_training(model, inputs, None)
    torch.manual_seed(0)
    with torch.no_grad():
        expected = model.backbone(inputs, mask=True)[0]
        assert torch.equal(features(inputs), expected) and torch.equal(features(inputs), features(inputs))
        assert not torch.equal(features(inputs + 1), expected)


def test_the_reconstruction_loss_of_a_batch():
    model = tiny.build(tiny.mae())
    got = AttackedEncoder(model, dict(type='reconstruction', eps=4, steps=5)).test_step(MIM)
    for name, steps in (('noise', 0), ('attack', 5)):
        result = reconstruction_attack(model, normalized(model), None, WhiteBox(4, steps=steps))
        assert {sample['before'] for sample in got} == {result.before}
        assert {sample[name] for sample in got} == {result.after}
    assert len({sample['group'] for sample in got}) == 1


@pytest.mark.parametrize('config', [tiny.mae(), tiny.aemim()], ids=['MAE', 'AEMIM'])
def test_each_attack_is_measured_by_what_the_other_maximises(config):
    model = tiny.build(config)
    settings = dict(eps=8, steps=10, crossed=True)
    moved, loss = (AttackedEncoder(model, dict(settings, type=kind)) for kind in ('features', 'reconstruction'))
    inputs = normalized(model)
    moved, loss = (one.figures(inputs, None) for one in (moved, loss))
    by_features = feature_attack(
        model, inputs, feature_pgd(8, steps=10), features=features_in_training(model, inputs, None)
    ).x_adv
    by_loss = reconstruction_attack(model, inputs, None, WhiteBox(8, steps=10)).x_adv
    assert not torch.equal(by_features, by_loss)
    # With the masks of the same seed, by hand.
    model.eval()
    encode, space = features_in_training(model, inputs, None), PixelSpace.of(model.data_preprocessor)
    with torch.no_grad():
        clean, perturbed = (encode(images).flatten(1) for images in (inputs, space.normalize(by_loss)))
        torch.manual_seed(0)
        latent, mask, order = model.backbone(space.normalize(by_features), mask=True)
        expected = model.head.loss(model.neck(latent, order), inputs, mask).item()
    assert loss['crossed'] == pytest.approx([expected] * 4, rel=1e-4) and expected < loss['attack'][0]
    expected = 100 * (perturbed - clean).norm(dim=1) / clean.norm(dim=1)
    assert moved['crossed'] == pytest.approx(expected.tolist(), rel=1e-4)
    assert all(crossed < most for crossed, most in zip(moved['crossed'], moved['attack']))
    again = reconstruction_attack(model, inputs, None, WhiteBox(8, steps=0, start='zero'))
    assert reconstruction_loss(model, inputs, None, MIM['inputs']) == again.before == loss['before'][0]


@pytest.mark.parametrize('config', [tiny.simmim(), tiny.aesimmim(), tiny.aesimmim_vit()], ids=['Swin', 'AE', 'AE, ViT'])
def test_masks_of_the_pipeline_and_feature_maps(config):
    model = tiny.build(config)
    grid = (4, 4) if config['backbone']['type'] == 'SimMIMViT' else (8, 8)
    data = dict(MIM, data_samples=tiny.mask_samples(grid=grid))
    for kind in ('features', 'reconstruction'):
        got = AttackedEncoder(model, dict(type=kind, eps=4, steps=5)).test_step(data)
        assert len(got) == 4
        assert all(abs(one['attack'] - one['before']) > abs(one['noise'] - one['before']) for one in got)


@settings(max_examples=10, deadline=None)
@given(kind=st.sampled_from(['features', 'reconstruction']), eps=st.floats(0.5, 100))
def test_rounded_images_are_whole_and_stay_in_the_budget(kind, eps):
    model = tiny.build(tiny.mae())
    inputs, images = normalized(model), MIM['inputs']
    if kind == 'features':
        features = features_in_training(model, inputs, None)
        result = feature_attack(model, inputs, feature_pgd(eps, steps=1), features=features, quantize=True)
    else:
        result = reconstruction_attack(model, inputs, None, WhiteBox(eps, steps=1), quantize=True)
    assert torch.equal(result.x_adv, result.x_adv.to(torch.uint8).float())
    assert (result.x_adv - images).abs().max() <= eps


def test_a_classifier_reconstructs_nothing():
    with pytest.raises(UserError, match='A ImageClassifier reconstructs nothing. Attack its features'):
        AttackedEncoder(trained_classifier(), dict(type='reconstruction', eps=4))
    with pytest.raises(UserError, match='A ImageClassifier reconstructs nothing'):
        AttackedEncoder(trained_classifier(), dict(type='features', eps=4, crossed=True))
    with pytest.raises(UserError, match='Known: features, reconstruction'):
        AttackedEncoder(trained_classifier(), dict(type='pgd', eps=4))


def test_means_with_intervals():
    metric = EncoderMetric()
    rows = [dict(before=0.0, noise=float(i), attack=2.0 * i, group=str(i)) for i in range(10)]
    metric.process(None, rows)
    assert metric.evaluate(10) == {'encoder/before': 0, 'encoder/noise': 4.5, 'encoder/attack': 9}
    assert metric.figures['noise'].low < 4.5 < metric.figures['noise'].high


def test_the_interval_of_groups():
    correct = np.random.default_rng(0).random(400) < 0.7
    single = grouped_interval(100.0 * correct, range(400))
    plain = accuracy_interval(correct)
    assert single == pytest.approx(plain, abs=0.5)
    # Images that are the same in threes say no more than a third of them: the interval is wider by sqrt(3).
    tripled = grouped_interval(np.repeat(100.0 * correct, 3), np.repeat(np.arange(400), 3))
    assert tripled == pytest.approx(single)
    one = grouped_interval([1.0, 3.0], ['a', 'a'])
    assert one.estimate == 2 and np.isnan([one.low, one.high]).all()
    with pytest.raises(UserError, match='a finite number for each image'):
        grouped_interval([1.0, float('nan')], ['a', 'b'])


def test_augmentations_follow_from_the_image():
    crop = dict(type='RandomResizedCrop', scale=28, crop_ratio_range=(0.2, 1.0))
    pipeline = [crop, dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
    plain = DemoFashionMNIST(split='train', limit=20, pipeline=pipeline)
    first, other = Seeded(plain), Seeded(plain, seed=1)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    images = [first[index]['inputs'] for index in range(20)]
    assert (np.random.get_state()[1] == state[0]).all() and torch.equal(torch.get_rng_state(), state[1])
    np.random.seed(5)
    assert all(torch.equal(first[index]['inputs'], images[index]) for index in reversed(range(20)))
    assert sum(torch.equal(other[index]['inputs'], images[index]) for index in range(20)) < 5
    assert len(first) == 20 and first.metainfo == plain.metainfo


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
@pytest.mark.parametrize('adversarial', [False, True], ids=['stock', 'AEMIM'])
@pytest.mark.parametrize('name', hosts.HOSTS)
def test_every_method_is_attacked_and_left_as_it_was(name, adversarial, tmp_path):
    clip = hosts.write_clip(tmp_path / 'clip.pth')
    model = hosts.build((hosts.adversarial if adversarial else hosts.stock)(name, clip))
    data, before = hosts.batch(name, model), tiny.snapshot(model)
    for kind in ('features', 'reconstruction'):
        attacked = AttackedEncoder(model, dict(type=kind, eps=8, steps=4))
        rows = list(zip(*attacked.figures(data['inputs'], data['data_samples']).values()))
        # Both global views of iBOT.
        assert len(rows) == (8 if (name, kind, adversarial) == ('iBOT', 'reconstruction', True) else 4)
        assert all(abs(c - a) > abs(b - a) for a, b, c in rows)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
