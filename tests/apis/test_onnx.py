"""Encoders in ONNX files compute what they compute in torch."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build, simmim

import aemim_mm
from aemim_mm.apis import onnx_file
from aemim_mm.apis.onnx_file import export_onnx
from aemim_mm.errors import UserError

onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return saved(randomized(build(mae_config())), mae_config(), tmp_path_factory.mktemp('aemim') / 'epoch_1.pth')


def features(path, images):
    (found,) = onnxruntime.InferenceSession(path).run(None, {'images': images.numpy()})
    return found


@pytest.mark.parametrize('number', [1, 5])
@pytest.mark.parametrize(
    'settings', [{}, dict(domain='adv', out_type='raw'), dict(img_size=(56, 40), out_type='featmap')], ids=str
)
def test_a_vit(checkpoint, tmp_path, settings, number):
    report = export_onnx(checkpoint, out=tmp_path / 'x.onnx', **settings)
    encoder = aemim_mm.load_encoder(checkpoint, **settings)
    images = torch.randn(number, 3, *encoder.img_size, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(features(report.path, images), encoder(images).numpy(), rtol=0, atol=1e-4)
    assert report.domain == settings.get('domain', 'clean') and report.left_out


@pytest.mark.parametrize('number', [1, 5])
def test_a_swin(tmp_path, number):
    checkpoint = saved(randomized(build(simmim())), simmim(), tmp_path / 'epoch_1.pth')
    report = export_onnx(checkpoint)
    assert report.path == tmp_path / 'epoch_1_onnx.onnx'
    encoder = aemim_mm.load_encoder(checkpoint)
    images = torch.randn(number, 3, *encoder.img_size)
    np.testing.assert_allclose(features(report.path, images), encoder(images).numpy(), rtol=0, atol=1e-4)


def test_the_file_says_how_images_are_normalised(checkpoint, tmp_path):
    shown = str(export_onnx(checkpoint, out=tmp_path / 'x.onnx'))
    metadata = onnxruntime.InferenceSession(tmp_path / 'x.onnx').get_modelmeta().custom_metadata_map
    encoder = aemim_mm.load_encoder(checkpoint)
    assert json.loads(metadata['mean']) == list(encoder.mean) and json.loads(metadata['out_type']) == 'cls_token'
    assert 'left out, the file has the encoder alone: neck.' in shown
    assert 'images (N, 3, 32, 32), float32, to features (N, 48), cls_token' in shown and str(encoder.mean) in shown


def test_what_is_no_file_of_onnx(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r'ends in .onnx, but got .*x.pth'):
        export_onnx(checkpoint, out=tmp_path / 'x.pth')
    (tmp_path / 'there.onnx').write_bytes(b'')
    with pytest.raises(UserError, match='is there already'):
        export_onnx(checkpoint, out=tmp_path / 'there.onnx')
    monkeypatch.setattr(onnx_file, 'LARGEST', 1000)
    with pytest.raises(UserError, match='at most 2 GiB, but'):
        export_onnx(checkpoint, out=tmp_path / 'x.onnx')
    monkeypatch.undo()
    monkeypatch.setattr(onnx_file, 'TOLERANCE', 0.0)
    with pytest.raises(UserError, match=r'differ by .*Nothing was written'):
        export_onnx(checkpoint, out=tmp_path / 'x.onnx')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(UserError, match='needs onnxruntime: pip install'):
        export_onnx(checkpoint, out=tmp_path / 'x.onnx')
    assert [file.name for file in tmp_path.iterdir()] == ['there.onnx']
