"""Encoders fitted to images and patches of other sizes."""

import pytest
import torch
import torch.nn.functional as F
from helpers import runs
from helpers.encoders import assert_close, randomized, saved
from helpers.tiny import build, simmim
from safetensors.torch import load_file

import aemim_mm
from aemim_mm.errors import UserError
from aemim_mm.export import export

EMBEDDING = 'backbone.patch_embed.projection'


@pytest.mark.parametrize('patch_size', [4, 16, 8, (16, 4)])
def test_the_embedding_of_patches_is_that_of_timm(checkpoint, aemim, tmp_path, patch_size):
    timm = pytest.importorskip('timm.layers')
    shape = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
    report = export(checkpoint, 'mmpretrain', out=tmp_path / 'x.safetensors', patch_size=patch_size)
    found = load_file(report.path)
    weight = aemim.state_dict()[f'{EMBEDDING}.weight']
    expected = timm.resample_patch_embed(weight, list(shape))
    torch.testing.assert_close(found[f'{EMBEDDING}.weight'], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[f'{EMBEDDING}.bias'], aemim.state_dict()[f'{EMBEDDING}.bias'])
    # The same encoder, with as many patches as fit into 32 pixels.
    encoder = aemim_mm.load_encoder(report.path)
    assert encoder.patch_size == shape and encoder.img_size == (32, 32)
    assert encoder.backbone.pos_embed.shape[1] == 1 + (32 // shape[0]) * (32 // shape[1])


@torch.no_grad()
def test_larger_patches_of_larger_images_give_the_old_tokens(checkpoint, images):
    """Bicubic enlargement of a patch alone, not of the image, is what the embedding undoes."""
    old = aemim_mm.load_encoder(checkpoint).backbone.patch_embed
    path = export(checkpoint, 'mmpretrain', img_size=64, patch_size=16).path
    new = aemim_mm.load_encoder(path).backbone.patch_embed
    patch = images[:, :, :8, :8]
    enlarged = F.interpolate(patch, (16, 16), mode='bicubic', antialias=True)
    torch.testing.assert_close(new(enlarged)[0], old(patch)[0], rtol=0, atol=1e-4)


def test_a_training_starts_from_an_encoder_of_other_patches(tmp_path, capsys):
    """The encoder and the decoder are loaded, but not the layer that predicts patches, in either domain."""
    runs.train(runs.AEMIM, tmp_path / 'first')
    argv = [tmp_path / 'first/epoch_1.pth', '--to', 'aemim', '--patch-size', 4, '--out', tmp_path / 'x.safetensors']
    runs.run('export.py', *argv)
    assert '2 left out, it predicts patches of another size: neck.decoder_pred.' in capsys.readouterr().out
    options = [f'load_from={tmp_path / "x.safetensors"}', 'model.backbone.patch_size=4', 'model.neck.patch_size=4']
    options += ['model.head.patch_size=4', 'optim_wrapper.optimizer.lr=0', 'param_scheduler=None']
    runs.train(runs.AEMIM, tmp_path / 'second', options=options)
    before, after = load_file(tmp_path / 'x.safetensors'), runs.weights(tmp_path / 'second/epoch_1.pth')
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name for name in after if name not in before and not name.endswith('_adv')} == {
        'neck.decoder_pred.weight',
        'neck.decoder_pred.bias',
    }


def test_sizes_that_do_not_fit(checkpoint, tmp_path):
    with pytest.raises(UserError, match='An image of 32x32 pixels is not a whole number of 5x5 patches'):
        export(checkpoint, 'timm', patch_size=5, out=tmp_path / 'x.pth')
    swin = saved(randomized(build(simmim())), simmim(), tmp_path / 'swin.pth')
    with pytest.raises(UserError, match='for a ViT only'):
        export(swin, 'timm', patch_size=8, out=tmp_path / 'x.pth')
    assert not (tmp_path / 'x.pth').exists()


@pytest.mark.parametrize('to', ['huggingface', 'mae', 'vitdet', 'timm'])
def test_other_layouts_take_the_encoder(checkpoint, tmp_path, to):
    out = tmp_path / ('x' if to == 'huggingface' else 'x.safetensors')
    report = export(checkpoint, to, img_size=64, patch_size=16, out=out)
    assert report.spec.patch_size == (16, 16) and report.spec.img_size == (64, 64)
    if to != 'vitdet':
        same = export(checkpoint, 'aemim', img_size=64, patch_size=16, out=tmp_path / 'y.safetensors').path
        images = torch.randn(2, 3, 64, 64)
        found, expected = (aemim_mm.load_encoder(path, num_heads=3)(images) for path in (out, same))
        assert_close(found, expected)
