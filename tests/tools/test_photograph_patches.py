"""The converter of photographs: each patch stands in its photograph, and those of the test are apart."""

import sys

import numpy as np
import pytest
import skimage.data
from helpers import runs
from PIL import Image


@pytest.fixture
def module(monkeypatch):
    module = runs.tool('dataset_converters/photograph_patches.py')
    monkeypatch.setattr(module, 'PHOTOGRAPHS', ('coffee', 'coins'))
    return module


def test_patches_are_a_grid_and_the_right_quarter_is_the_test(module, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['photograph_patches.py', str(tmp_path / 'out')])
    with pytest.raises(SystemExit, match='^error: .*its checksum .* scikit-image'):  # Two of thirteen photographs.
        module.main()
    # Coffee has 400 x 600 pixels, coins 303 x 384.
    assert 'coffee: 143 train, 33 test\ncoins: 64 train, 16 test\n' in capsys.readouterr().out
    for name, border in (('coffee', 450), ('coins', 288)):
        whole = getattr(skimage.data, name)()
        for part, left in (('train', 0), ('test', border)):
            region = whole[:, left : (border if part == 'train' else None)]
            for path in (tmp_path / 'out' / part / name).iterdir():
                y, x = map(int, path.stem.split('_'))
                np.testing.assert_array_equal(np.array(Image.open(path)), region[y : y + 64, x : x + 64])
                assert y % 32 == x % 32 == 0 and x + 64 <= region.shape[1]


def test_a_patch_of_one_colour_is_left_out(module):
    image = np.zeros((64, 160), np.uint8)
    image[10, 130] = 1
    assert [name for name, _ in module.patches(image)] == ['000_096.png']


def test_large_photographs_are_reduced(module):
    image = module.photograph('hubble_deep_field')
    assert image.size == (640, 558) and image.mode == 'RGB' and module.photograph('coins').mode == 'L'
    whole = skimage.data.hubble_deep_field().astype(float)
    assert np.abs(np.asarray(image, float).mean((0, 1)) - whole.mean((0, 1))).max() < 0.5


def test_without_scikit_image_the_error_says_how_to_install_it(module, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['photograph_patches.py', str(tmp_path / 'out')])
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='^error: .*pip install scikit-image'):
        module.main()
    assert not (tmp_path / 'out').exists()
