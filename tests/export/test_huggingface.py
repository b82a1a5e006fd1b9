"""Exports for Hugging Face's ViTMAEForPreTraining and ViTModel."""

import json

import pytest
import torch
from helpers.encoders import assert_close, features, mae_config, randomized, saved
from helpers.tiny import build, merged
from PIL import Image

from aemim_mm import Domain, load_encoder, use_domain
from aemim_mm.errors import UserError
from aemim_mm.export import export, read_source

transformers = pytest.importorskip('transformers')
transformers.utils.logging.set_verbosity_error()


@pytest.fixture(scope='module')
def folder(checkpoint, tmp_path_factory):
    return export(checkpoint, 'huggingface', out=tmp_path_factory.mktemp('hf') / 'aemim').path


def pretrained(name, folder, **kwargs):
    """Load a model from a folder; assert that no weight is missing or unused."""
    kind = getattr(transformers, name)
    model, info = kind.from_pretrained(folder, output_loading_info=True, **kwargs)
    decoder = [key for key in info['unexpected_keys'] if not (name == 'ViTModel' and key.startswith('decoder.'))]
    assert not info['missing_keys'] and not info['mismatched_keys'] and not decoder, info
    return model.eval()


@torch.no_grad()
def test_same_features(folder, aemim, images):
    model = pretrained('ViTModel', folder, add_pooling_layer=False)
    assert_close(model(images).last_hidden_state, features(aemim, images))


@torch.no_grad()
def test_the_encoder_of_vitmae(folder, aemim, images):
    model = transformers.ViTMAEModel.from_pretrained(folder, mask_ratio=0.0).eval()
    got = model(images)  # The model shuffles the patches. The class token does not depend on their order.
    assert_close(got.last_hidden_state[:, 0], features(aemim, images)[:, 0])


@torch.no_grad()
def test_same_features_of_another_size(folder, aemim, large):
    model = pretrained('ViTModel', folder, add_pooling_layer=False)
    got = model(large, interpolate_pos_encoding=True).last_hidden_state
    assert_close(got, features(aemim, large))


@torch.no_grad()
def test_positions_interpolated_at_export(checkpoint, aemim, tmp_path):
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    report = export(checkpoint, 'huggingface', img_size=48, out=tmp_path / 'hf')
    model = pretrained('ViTModel', report.path, add_pooling_layer=False)
    assert_close(model(images).last_hidden_state, features(aemim, images))
    assert pretrained('ViTMAEForPreTraining', report.path).config.image_size == 48


@torch.no_grad()
@pytest.mark.parametrize('domain', ['clean', 'adv'])
def test_same_reconstruction_and_loss(checkpoint, aemim, images, domain, tmp_path, monkeypatch):
    report = export(checkpoint, 'huggingface', domain=domain, out=tmp_path / 'hf')
    model = pretrained('ViTMAEForPreTraining', report.path)
    torch.manual_seed(3)
    noise = torch.rand(3, 16)
    got = model(images, noise=noise)
    torch.manual_seed(3)  # AEMIMViT draws the same random numbers.
    with use_domain(aemim, Domain(domain)):
        latent, mask, restore = aemim.backbone(images)
        monkeypatch.setattr(aemim.neck, 'predict_visible', True)
        pred = aemim.neck(latent, restore)
    assert torch.equal(got.ids_restore, restore)
    assert_close(got.logits, pred)
    assert_close(model.unpatchify(got.logits), aemim.head.unpatchify(pred))
    assert_close(got.loss, aemim.head.loss(pred, images, mask))


@torch.no_grad()
def test_from_hugging_face(images, tmp_path):
    config = transformers.ViTMAEConfig(
        image_size=32, patch_size=8, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96,
        decoder_hidden_size=32, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
        decoder_intermediate_size=64, layer_norm_eps=1e-6, norm_pix_loss=True, mask_ratio=0.75,
    )  # fmt: skip
    model = randomized(transformers.ViTMAEForPreTraining(config))
    model.save_pretrained(tmp_path / 'hf')
    source = read_source(tmp_path / 'hf')
    assert (source.spec.num_heads, source.spec.decoder_num_heads, source.spec.norm_pix) == (3, 2, True)
    report = export(tmp_path / 'hf', 'aemim', out=tmp_path / 'x.pth')
    stock = build(mae_config('MAE')).eval()
    stock.load_state_dict(torch.load(report.path)['state_dict'], strict=True)
    torch.manual_seed(1)
    noise = torch.rand(3, 16)
    torch.manual_seed(1)
    latent, _, restore = stock.backbone(images)
    assert_close(stock.neck(latent, restore), model(images, noise=noise).logits)


@torch.no_grad()
def test_an_encoder_alone(images, tmp_path):
    """Without a decoder, names have no prefix. The pooling layer is listed as left out."""
    config = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
    )
    model = randomized(transformers.ViTModel(config))
    model.save_pretrained(tmp_path / 'hf', safe_serialization=False)
    encoder = load_encoder(tmp_path / 'hf', out_type='raw')
    assert encoder.spec.eps == 1e-12
    assert_close(encoder(images), model(images).last_hidden_state)
    report = export(tmp_path / 'hf', 'huggingface', out=tmp_path / 'again')
    assert set(report.left_out) == {'pooler.dense.weight', 'pooler.dense.bias'}
    again = pretrained('ViTModel', report.path, add_pooling_layer=False)
    assert_close(again(images).last_hidden_state, model(images).last_hidden_state, atol=0)
    assert json.loads((report.path / 'config.json').read_text())['layer_norm_eps'] == 1e-12


def test_round_trip_is_bit_identical(folder, aemim):
    back = read_source(folder).state
    clean = {name: value for name, value in aemim.state_dict().items() if not name.endswith('_adv')}
    assert back.keys() == clean.keys() and all(torch.equal(back[name], clean[name]) for name in clean)


def test_the_image_processor_gives_what_the_encoder_is_trained_on(folder, aemim):
    pixels = torch.randint(256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    processor = transformers.ViTImageProcessor.from_pretrained(folder)
    got = processor(images=Image.fromarray(pixels), return_tensors='pt')['pixel_values']
    bgr = torch.from_numpy(pixels.copy()).permute(2, 0, 1).flip(0)[None]
    expected = aemim.data_preprocessor(dict(inputs=bgr, data_samples=None))['inputs']
    assert_close(got, expected)


@torch.no_grad()
def test_an_oblong_image_goes_without_its_decoder(tmp_path):
    sizes = dict(img_size=(32, 16))
    config = merged(mae_config(), dict(backbone=sizes, neck=sizes))
    model = randomized(build(config))
    report = export(saved(model, config, tmp_path / 'epoch.pth'), 'huggingface', out=tmp_path / 'hf')
    decoder = {name for name, reason in report.left_out.items() if 'for square images only' in reason}
    assert decoder == {f'neck.{name}' for name in model.neck.state_dict() if not name.endswith('_adv')}
    images = torch.randn(2, 3, 32, 16)
    got = pretrained('ViTModel', report.path, add_pooling_layer=False)(images).last_hidden_state
    assert_close(got, features(model, images))


def test_files_that_would_not_be_right(checkpoint, tmp_path):
    with pytest.raises(UserError, match='writes a folder'):
        export(checkpoint, 'huggingface', out=tmp_path / 'x.safetensors')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'has no model.safetensors or pytorch_model.bin'):
        read_source(tmp_path / 'empty')
    (tmp_path / 'empty/model.safetensors').touch()
    (tmp_path / 'empty/config.json').write_text('{')
    with pytest.raises(UserError, match=r'config.json is no JSON'):
        read_source(tmp_path / 'empty')
