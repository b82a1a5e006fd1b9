"""Adversarial tuning keeps the features of attacked images at those of the original encoder."""

from copy import deepcopy

import pytest
import torch
from helpers import runs
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build, pixels
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from aemim_mm import load_encoder
from aemim_mm.errors import UserError
from aemim_mm.evaluation.probe import extract_features
from aemim_mm.export import export

DEMO = runs.CONFIGS / 'demo/encoder-tuning_vit-tiny_4e_fashion-mnist.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    config = mae_config()
    return saved(randomized(build(config)), config, tmp_path_factory.mktemp('encoder') / 'epoch_1.pth')


def tuning(checkpoint, attack=None, **changes):
    preprocessor = dict(type='AdvDataPreprocessor', eps=4, steps=3, step_size=2, **attack or {})
    config = dict(type='AdversarialEncoderTuning', encoder=str(checkpoint), data_preprocessor=preprocessor)
    return MODELS.build(dict(config, **changes))


def batch(model, seed=0, size=4):
    return model.data_preprocessor(dict(inputs=pixels(size, seed=seed), data_samples=None))['inputs']


def attacked(model, images, seed=3):
    torch.manual_seed(seed)
    original = load_encoder_of(model)
    with torch.no_grad():
        target = original(images)
    return model.data_preprocessor.perturb(images, lambda x: (model.features(x) - target).square().sum()), target


def load_encoder_of(model):
    return model._outside['original']


@pytest.mark.parametrize('out_type', ['cls_token', 'avg_featmap', 'featmap', 'raw'])
@pytest.mark.parametrize('clean_weight', [0, 0.5])
def test_the_loss_is_the_distance_of_attacked_features_from_the_original_ones(checkpoint, out_type, clean_weight):
    model = tuning(checkpoint, out_type=out_type, clean_weight=clean_weight)
    randomized(model.backbone)
    images = batch(model)
    x_adv, target = attacked(model, images)
    assert torch.equal(target, load_encoder(checkpoint, out_type=out_type)(images))
    torch.manual_seed(3)
    losses = model(images, mode='loss')
    with torch.no_grad():
        gaps = {name: model.features(x) - target for name, x in dict(clean=images, adv=x_adv).items()}
    assert losses['loss_adv'].item() == pytest.approx(gaps['adv'].square().sum().item() / 4, rel=1e-5)
    for name, gap in gaps.items():
        moved = (gap.flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)).mean().item()
        assert losses[f'moved_{name}'].item() == pytest.approx(moved, rel=1e-5)
    assert ('loss_clean' in losses) == bool(clean_weight)
    if clean_weight:
        expected = clean_weight * gaps['clean'].square().sum().item() / 4
        assert losses['loss_clean'].item() == pytest.approx(expected, rel=1e-5)
    assert not any(value.requires_grad for name, value in losses.items() if 'loss' not in name)
    model.parse_losses(losses)[0].backward()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize('attack', [{}, dict(halving=True)])
def test_tuning_makes_attacked_features_stay(checkpoint, attack):
    model = tuning(checkpoint, attack)
    before = {name: value.clone() for name, value in load_encoder_of(model).state_dict().items()}
    start = model(batch(model, seed=99, size=8), mode='loss')
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for seed in range(25):
        optimizer.zero_grad()
        model.parse_losses(model(batch(model, seed, size=8), mode='loss'))[0].backward()
        optimizer.step()
    end = model(batch(model, seed=99, size=8), mode='loss')
    assert end['moved_adv'] < 0.85 * start['moved_adv']
    assert start['moved_clean'] == 0 < end['moved_clean'] < end['moved_adv']
    after = load_encoder_of(model).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_an_attack_leaves_no_trace_and_a_checkpoint_holds_one_encoder(checkpoint):
    model = tuning(checkpoint)
    state = deepcopy(model.state_dict())
    model(batch(model), mode='loss')
    assert all(value.grad is None and value.requires_grad for value in model.parameters())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    stock = {f'backbone.{name}' for name in load_encoder(checkpoint).backbone.state_dict()}
    assert {name for name in state if not name.startswith('data_preprocessor')} == stock
    copy = deepcopy(model)
    randomized(copy.backbone)
    assert not torch.equal(copy.features(batch(copy)), model.features(batch(model)))


def test_the_original_follows_to_another_type_and_device(checkpoint):
    model = tuning(checkpoint).double()
    assert {value.dtype for value in load_encoder_of(model).parameters()} == {torch.float64}
    assert model(batch(model).double(), mode='loss')['loss_adv'].dtype is not torch.float16


def test_the_untuned_encoder_is_probed_as_the_model_of_the_pre_training(checkpoint):
    dataset = [
        dict(inputs=image.round().byte(), data_samples=DataSample().set_gt_label(0)) for image in pixels(5, seed=1)
    ]
    model = build(mae_config())
    model.load_state_dict(torch.load(checkpoint, weights_only=False)['state_dict'])
    expected, _ = extract_features(model, dataset)
    found, _ = extract_features(tuning(checkpoint, out_type='featmap'), dataset)
    torch.testing.assert_close(found, expected)


def dino(checkpoint, folder):
    """Write the checkpoint of a training of DINO, from an encoder with timm's names."""
    export(checkpoint, 'timm', out=folder / 'timm.pth')
    state = torch.load(folder / 'timm.pth', weights_only=False)
    state = state.get('state_dict', state.get('model', state))
    head = {f'head.mlp.{number}.weight': torch.zeros(4, 4) for number in (0, 2, 4)}
    networks = {name: {**{f'{prefix}backbone.{key}': value for key, value in state.items()},
                       **{f'{prefix}{key}': value for key, value in head.items()}}
                for name, prefix in dict(teacher='', student='module.').items()}  # fmt: skip
    torch.save(dict(networks, epoch=1, optimizer={}), folder / 'dino.pth')
    return f'{folder / "dino.pth"}#teacher'


@pytest.mark.parametrize('layout', ['timm', 'mae', 'huggingface', 'dino'])
def test_encoders_of_other_libraries_are_tuned(checkpoint, layout, tmp_path):
    if layout == 'dino':
        path = dino(checkpoint, tmp_path)
    else:
        suffix = '' if layout == 'huggingface' else '.pth'
        path = export(checkpoint, layout, out=tmp_path / f'encoder{suffix}').path
    normalisation = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
    model = tuning(path, normalisation, num_heads=3, out_type='raw')
    images = batch(model)
    torch.testing.assert_close(model.features(images), tuning(checkpoint, out_type='raw').features(images))
    assert model(images, mode='loss')['loss_adv'] > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(attack=dict(mean=[1.0, 2.0, 3.0])), r'data_preprocessor.mean is \[123.675.* but got \[1.0, 2.0, 3.0\]'),
        (dict(clean_weight=-1), 'clean_weight is >= 0, but got -1'),
        (dict(distance='l3'), "Unknown distance 'l3'"),
        (dict(out_type='last'), "Unknown out_type 'last'"),
        (dict(encoder='missing.pth'), 'missing.pth'),
    ],
)
def test_bad_input_is_one_clear_error(checkpoint, changes, message):
    with pytest.raises(UserError, match=message):
        tuning(checkpoint, **changes)
    with pytest.raises(UserError, match="Set data_preprocessor.type='AdvDataPreprocessor'"):
        MODELS.build(dict(type='AdversarialEncoderTuning', encoder=str(checkpoint),
                          data_preprocessor=dict(type='SelfSupDataPreprocessor')))  # fmt: skip


def test_the_runner_tunes_resumes_and_saves_what_load_encoder_reads(tmp_path):
    runs.train(runs.MAE, tmp_path / 'mae')
    encoder = f'model.encoder={tmp_path / "mae/epoch_1.pth"}'
    shrunk = [option for option in runs.SHRUNK if not option.startswith('model')]
    options = dict(shrunk=shrunk, options=[encoder, 'param_scheduler=[]'])
    runs.train(DEMO, tmp_path / 'whole', epochs=2, **options)
    runs.train(DEMO, tmp_path / 'parts', epochs=1, **options)
    runs.train(DEMO, tmp_path / 'parts', '--resume', epochs=2, **options)
    whole, parts = (runs.weights(tmp_path / name / 'epoch_2.pth') for name in ('whole', 'parts'))
    assert whole.keys() == parts.keys() and all(torch.equal(parts[name], value) for name, value in whole.items())
    tuned = load_encoder(tmp_path / 'whole/epoch_2.pth', out_type='featmap')
    assert (tuned.mean, tuned.img_size, tuned.in_channels) == ((73.0,), (28, 28), 1)
    images = torch.randn(2, 1, 28, 28)
    start = load_encoder(tmp_path / 'mae/epoch_1.pth', out_type='featmap')
    moved = (tuned(images) - start(images)).norm() / start(images).norm()
    assert 0 < moved < 1
    assert {'loss_adv', 'moved_adv', 'moved_clean'} <= runs.scalars(tmp_path / 'whole')[-1].keys()
