"""Attention maps, principal colours, and the tool that draws them."""

import numpy as np
import pytest
import torch
from helpers import runs
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build, simmim
from mmpretrain.models import VisionTransformer
from PIL import Image

from aemim_mm.errors import UserError
from aemim_mm.visualization.feature_maps import attention_maps, heat, principal_colours

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)


@pytest.fixture(scope='module')
def vit():
    return randomized(VisionTransformer(ARCH, img_size=(32, 48), patch_size=8, out_type='featmap'))


def test_attention_is_that_of_the_layer(vit):
    images = torch.randn(2, 3, 32, 48)
    maps = attention_maps(vit, images)
    assert maps.shape == (2, 4, 6)
    # By another way: with values that mark one token each, the layer's output before its projection is the attention.
    attention = vit.layers[-1].attn
    seen = []
    handle = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        vit(images)
        handle.remove()
        queries, keys, _ = attention.qkv(seen[0]).reshape(2, 25, 3, 3, 8).permute(2, 0, 3, 1, 4)
        marks = torch.eye(25).expand(2, 3, 25, 25)
        found = torch.nn.functional.scaled_dot_product_attention(queries, keys, marks)
    torch.testing.assert_close(maps.flatten(1), found.mean(dim=1)[:, 0, 1:])


def test_attention_needs_a_class_token():
    model = build(simmim())
    with pytest.raises(UserError, match='of a ViT with a class token, but got a SimMIMSwinTransformer'):
        attention_maps(model.backbone, torch.randn(1, 3, 32, 32))


def test_colours_are_principal_components():
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([9.0, 5.0, 3.0, 0.1, 0.1]).view(5, 1, 1)
    first, second = scales * torch.randn(2, 4, 5, 6, 7, generator=generator)
    colours, others = principal_colours(first, second)
    assert colours.shape == others.shape == (4, 6, 7, 3) and colours.dtype == np.uint8
    for channel in range(3):
        # With so few images, the components are nearly, but not quite, the axes.
        for maps, shown in ((first, colours), (second, others)):
            correlation = np.corrcoef(maps[:, channel].flatten(), shown[..., channel].flatten())[0, 1]
            assert abs(correlation) > 0.95
    (alone,) = principal_colours(first)
    np.testing.assert_array_equal(alone, colours)


def test_heat_is_dark_to_bright():
    shown = heat(torch.tensor([0.0, 1.0, 2.0, 9.0]), top=2.0)
    assert shown.shape == (4, 3) and shown.dtype == np.uint8
    brightness = shown.astype(int).sum(axis=1)
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/0 broken.png').write_bytes(b'no image')
    for number in range(2):
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{number}.png')
    return tmp_path / 'images'


@pytest.mark.parametrize(('config', 'columns'), [(mae_config, 8), (simmim, 6)], ids=['vit', 'swin'])
def test_the_tool_draws_rows(tmp_path, folder, capsys, config, columns):
    config = config(data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True))
    checkpoint = saved(randomized(build(config)), config, tmp_path / 'x.pth')
    argv = ['--rows', 2, '--eps', 8, '--steps', 2, '--picture', tmp_path / 'x.png']
    runs.run('visualization/adversarial_views.py', checkpoint, folder, *argv)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith('Left out: Cannot read the image ') and shown[1].startswith('0.png: features move by ')
    assert len(shown) == 4
    # Headings are 24 pixels high, and between pictures are 6; each is enlarged 5 times, to 160 pixels.
    picture = np.array(Image.open(tmp_path / 'x.png')).astype(int)
    assert picture.shape == (24 + 2 * 166, columns * 166, 3)
    for row in range(2):
        first, *others = (
            picture[24 + row * 166 :, column * 166 :][:160, :160][2::5, 2::5] for column in range(columns)
        )
        expected = np.asarray(Image.open(folder / f'{row}.png')).astype(int)
        assert np.abs(first - expected).max() <= 1
        adversarial = [other for other in others if 0 < np.abs(other - expected).max() <= 9]
        assert len(adversarial) == 1


def test_maps_of_swin_need_not_divide_the_image(tmp_path, folder):
    config = simmim(data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3))
    checkpoint = saved(randomized(build(config)), config, tmp_path / 'x.pth')
    argv = ['--img-size', 36, '--rows', 1, '--steps', 1, '--picture', tmp_path / 'x.png']
    runs.run('visualization/adversarial_views.py', checkpoint, folder, *argv)
    assert np.array(Image.open(tmp_path / 'x.png')).shape == (24 + 4 * 36 + 6, 6 * (4 * 36 + 6), 3)
