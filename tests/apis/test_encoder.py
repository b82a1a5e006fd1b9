"""load_encoder, and this project's models in mmpretrain.get_model."""

import os

import mmpretrain
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from helpers import runs
from helpers.encoders import ARCH, assert_close, features, mae_config, randomized, saved
from helpers.tiny import build
from mmengine.dataset import Compose
from mmpretrain.apis import ModelHub
from PIL import Image

import aemim_mm
from aemim_mm import Domain, load_encoder, use_domain
from aemim_mm.apis import model_index
from aemim_mm.errors import UserError


@pytest.fixture(scope='module')
def aemim():
    return randomized(build(mae_config()))


@pytest.fixture(scope='module')
def checkpoint(aemim, tmp_path_factory):
    return saved(aemim, mae_config(), tmp_path_factory.mktemp('aemim') / 'epoch_1.pth')


@pytest.fixture(scope='module')
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def photograph(height, width, seed=0):
    """A smooth image: a shift by a pixel changes it, and two methods of resizing agree."""
    coarse = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_what_users_write(checkpoint, aemim, images):
    encoder = aemim_mm.load_encoder(checkpoint)
    assert torch.equal(encoder(images), features(aemim, images)[:, 0])
    assert (encoder.embed_dims, encoder.patch_size, encoder.img_size, encoder.in_channels) == (48, (8, 8), (32, 32), 3)
    assert encoder.mean == (123.675, 116.28, 103.53) and encoder.std == (58.395, 57.12, 57.375)


def test_it_is_frozen(checkpoint, images):
    encoder = load_encoder(checkpoint)
    assert not encoder.training and not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(images).requires_grad
    # Attacks need the gradient with respect to the images.
    assert encoder(images.clone().requires_grad_()).requires_grad


@torch.no_grad()
def test_types_of_output(checkpoint, aemim, images):
    tokens = features(aemim, images)
    expected = dict(
        raw=tokens,
        cls_token=tokens[:, 0],
        featmap=tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        avg_featmap=tokens[:, 1:].mean(dim=1),
    )
    for out_type, value in expected.items():
        assert_close(load_encoder(checkpoint, out_type=out_type)(images), value)
    with pytest.raises(UserError, match="Unknown out_type 'last'. Known: avg_featmap, cls_token"):
        load_encoder(checkpoint, out_type='last')


@torch.no_grad()
def test_the_other_domain(checkpoint, aemim, images):
    with use_domain(aemim, Domain.ADV):
        expected = features(aemim, images)[:, 0]
    assert torch.equal(load_encoder(checkpoint, domain='adv')(images), expected)
    assert not torch.equal(load_encoder(checkpoint)(images), expected)


@torch.no_grad()
@pytest.mark.parametrize('size', [(56, 40), (16, 48)])
def test_images_of_another_size(checkpoint, aemim, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = features(aemim, images)
    assert_close(load_encoder(checkpoint, out_type='raw')(images), expected)
    resized = load_encoder(checkpoint, img_size=size, out_type='raw')
    assert_close(resized(images), expected)
    assert resized.preprocess(photograph(70, 90)).shape == (1, 3, *size)


def test_wrong_images(checkpoint):
    encoder = load_encoder(checkpoint)
    with pytest.raises(UserError, match='An image of 33x32 pixels is not a whole number of 8x8 patches'):
        encoder(torch.zeros(1, 3, 33, 32))
    with pytest.raises(UserError, match=r'Expected images \(B, 3, H, W\), but got \(3, 32, 32\)'):
        encoder(torch.zeros(3, 32, 32))
    with pytest.raises(UserError, match=r'Expected images \(B, 3, H, W\), but got \(2, 1, 32, 32\)'):
        encoder(torch.zeros(2, 1, 32, 32))


@torch.no_grad()
def test_a_fine_tuned_classifier(images, tmp_path):
    config = dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, out_type='avg_featmap', final_norm=False
        ),
        head=dict(type='LinearClsHead', in_channels=48, num_classes=7),
    )
    classifier = randomized(build(config))
    encoder = load_encoder(saved(classifier, config, tmp_path / 'x.pth'))
    assert torch.equal(encoder(images), classifier.backbone(images)[-1])


def test_preprocess_as_in_training(checkpoint, aemim, tmp_path):
    """Our preprocessing equals mmpretrain's pipeline and data preprocessor for an image of the right size."""
    encoder, image = load_encoder(checkpoint), photograph(32, 32)
    image.save(tmp_path / 'x.png')
    pipeline = Compose([dict(type='LoadImageFromFile'), dict(type='mmpretrain.PackInputs')])
    packed = pipeline(dict(img_path=str(tmp_path / 'x.png')))
    expected = aemim.data_preprocessor(dict(inputs=packed['inputs'][None], data_samples=None))['inputs']
    for given in (tmp_path / 'x.png', str(tmp_path / 'x.png'), image, np.array(image), [image]):
        assert_close(encoder.preprocess(given), expected)
    assert torch.equal(encoder.preprocess([image, np.array(image)])[1:], encoder.preprocess(image))
    assert_close(encoder.preprocess(image.convert('RGBA')), expected)


@pytest.mark.parametrize(('size', 'crop_ratio'), [((64, 128), 1), ((128, 64), 0.5), ((16, 16), 0.8), ((7, 100), 0.875)])
def test_preprocess_resizes_the_short_side_and_crops_the_middle(checkpoint, size, crop_ratio):
    encoder, image = load_encoder(checkpoint), photograph(*size)
    got = encoder.preprocess(image, crop_ratio=crop_ratio)
    short = 32 / crop_ratio
    target = [round(short * side / min(size)) for side in size]
    expected = TF.center_crop(TF.resize(image, target, TF.InterpolationMode.BICUBIC), [32, 32])
    assert_close(got, encoder.preprocess(expected))


def test_grey_images_and_channels_in_the_other_order(tmp_path):
    config = mae_config(data_preprocessor=dict(to_rgb=False, mean=[10.0, 20.0, 30.0], std=[1.0, 2.0, 3.0]))
    encoder = load_encoder(saved(build(config), config, tmp_path / 'x.pth'))
    image = np.zeros((32, 32, 3), np.uint8) + np.array([50, 60, 70], np.uint8)
    assert encoder.preprocess(image)[0, :, 0, 0].tolist() == [60, 20, pytest.approx(20 / 3)]
    grey = load_encoder(saved(build(mae_config()), mae_config(), tmp_path / 'y.pth'))
    grid = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    assert torch.equal(grey.preprocess(grid), grey.preprocess(np.stack([grid] * 3, axis=2)))


def test_sixteen_bits_are_shifted_as_in_training(checkpoint, tmp_path):
    deep = np.random.default_rng(0).integers(65536, size=(32, 32)).astype(np.uint16)
    image = Image.fromarray(deep)
    image.save(tmp_path / 'x.png')
    encoder = load_encoder(checkpoint)
    expected = encoder.preprocess((deep >> 8).astype(np.uint8))
    assert torch.equal(encoder.preprocess(tmp_path / 'x.png'), expected)
    assert torch.equal(encoder.preprocess(image), expected)


def test_images_that_are_none(checkpoint, tmp_path):
    encoder = load_encoder(checkpoint)
    (tmp_path / 'x.jpg').write_bytes(b'nothing')
    with pytest.raises(UserError, match=r'Cannot read the image .*x.jpg \(UnidentifiedImageError'):
        encoder.preprocess(tmp_path / 'x.jpg')
    os.mkfifo(tmp_path / 'pipe.jpg')
    with pytest.raises(UserError, match=r'Cannot read the image .*pipe.jpg \(OSError: no regular file\)'):
        encoder.preprocess(tmp_path / 'pipe.jpg')
    with pytest.raises(UserError, match='of 8 or 16 bits, but got .*mode=F.*32-bit pixels'):
        encoder.preprocess(photograph(32, 32).convert('F'))
    with pytest.raises(UserError, match='paths, PIL images and arrays of uint8, but got int'):
        encoder.preprocess([1])
    with pytest.raises(UserError, match=r'of uint8, 0-255, but got \(32, 32, 3\) of float64'):
        encoder.preprocess(np.zeros((32, 32, 3)))
    with pytest.raises(UserError, match=r'crop_ratio is in \(0, 1\], but got 2'):
        encoder.preprocess(photograph(32, 32), crop_ratio=2)
    with pytest.raises(UserError, match='not tensors'):
        encoder.preprocess(torch.zeros(3, 32, 32))
    with pytest.raises(UserError, match='no image'):
        encoder.preprocess([])


def test_the_demo(tmp_path):
    """The checkpoint of a run with one channel, 28 pixels and patches of 7."""
    runs.train(runs.AEMIM, tmp_path)
    encoder = load_encoder(tmp_path / 'epoch_1.pth')
    assert (encoder.img_size, encoder.patch_size, encoder.in_channels) == ((28, 28), (7, 7), 1)
    assert (encoder.mean, encoder.std, encoder.spec.num_heads, encoder.embed_dims) == ((73.0,), (90.0,), 6, 192)
    grid = np.arange(28 * 28).reshape(28, 28).astype(np.uint8)
    images = encoder.preprocess(grid)
    assert_close(images[0, 0], (torch.from_numpy(grid).float() - 73) / 90)
    model = mmpretrain.get_model(
        'aemim_vit-tiny_16e_fashion-mnist',
        pretrained=str(tmp_path / 'epoch_1.pth'),
        backbone=dict(arch=dict(num_layers=2)),
        neck=dict(decoder_depth=1),
    )
    assert torch.equal(encoder(images), features(model, images)[:, 0])


def test_names(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(UserError, match='No weights of aemim_vit-b_800e are published. Pre-train it'):
        load_encoder('aemim_vit-b_800e')
    with pytest.raises(UserError, match=r'aemim_vit-c is no file, no folder, and no model of configs/metafile.yml'):
        load_encoder('aemim_vit-c')
    with pytest.raises(UserError, match=r'There is no checkpoint work_dirs/gone.pth'):
        load_encoder('work_dirs/gone.pth')
    # With published weights:
    monkeypatch.setattr(ModelHub._models_dict['aemim_vit-b_800e'], 'weights', str(checkpoint))
    assert load_encoder('AEMIM_vit-b_800e').embed_dims == 48


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (exec, (f'open({str(tmp_path / "ran")!r}, "w").close()',))

    torch.save(dict(state_dict={}, meta=Malicious()), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='needs code'):
        load_encoder(tmp_path / 'x.pth')
    assert not (tmp_path / 'ran').exists()


def test_names_in_mmpretrain():
    """mmpretrain lists our models beside its own. The config of each exists."""
    assert {'aemim_vit-b_800e', 'aemim_vit-l_800e', 'aesimmim_swin-b_800e'} <= set(mmpretrain.list_models('ae*'))
    assert len(mmpretrain.list_models()) > 500
    model = mmpretrain.get_model('AEMIM_vit-tiny_16e_fashion-mnist', pretrained=False)
    assert type(model) is aemim_mm.AEMIM and not model.training
    assert mmpretrain.get_model('aemim_vit-b_800e').backbone.embed_dims == 768


def test_get_model_with_weights(tmp_path):
    path = tmp_path / 'x.pth'
    expected = randomized(mmpretrain.get_model('aemim_vit-tiny_16e_fashion-mnist'))
    torch.save(dict(state_dict=expected.state_dict()), path)
    model = mmpretrain.get_model('aemim_vit-tiny_16e_fashion-mnist', pretrained=str(path))
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize('installed', [True, False], ids=['installed', 'checkout'])
def test_where_the_index_is_found(installed, tmp_path, monkeypatch):
    root = tmp_path / 'aemim_mm/.mim' if installed else tmp_path
    root.mkdir(parents=True, exist_ok=True)
    (root / 'configs').symlink_to(runs.CONFIGS)
    (root / 'model-index.yml').symlink_to(runs.REPO / 'model-index.yml')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_index, 'PACKAGE', tmp_path / 'aemim_mm')
    monkeypatch.setattr(ModelHub, '_models_dict', {})
    model_index.register_models()
    model_index.register_models()  # A second registration is no conflict.
    configs = [entry.config for entry in ModelHub._models_dict.values()]
    assert len(configs) > 5 and all(config.startswith(str(root / 'configs')) for config in configs)


def test_without_an_index(tmp_path, monkeypatch):
    monkeypatch.setattr(model_index, 'PACKAGE', tmp_path / 'aemim_mm')
    monkeypatch.setattr(ModelHub, '_models_dict', {})
    model_index.register_models()
    assert not ModelHub._models_dict
