"""The landscape around images, and the tools that draw it and the panels of a checkpoint."""

import numpy as np
import pytest
import torch
from helpers import runs
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build
from PIL import Image

from aemim_mm.visualization.landscape import draw_landscapes, landscape


def test_the_function_at_each_point():
    image, first, second = (torch.tensor(each).view(2, 1, 1) for each in ([0.0, 0], [1.0, 0], [0, 10.0]))
    found = landscape(lambda images: images.flatten(1).sum(dim=1), image, (first, second), [-1, 0, 2], batch_size=4)
    np.testing.assert_array_equal(found, [[-11, -10, -8], [-1, 0, 2], [19, 20, 22]])


def test_the_drawing_is_brighter_where_the_function_is_higher():
    steps = np.linspace(-2, 2, 5)
    low, high = np.zeros((5, 5)), np.full((5, 5), 1.0)
    high[0, 0] = 0.0
    picture = draw_landscapes([low, high], steps, ['low', 'high'], ('x', 'y'), 'unit').astype(int)
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    middle = picture.shape[0] // 2
    assert left[middle, left.shape[1] // 2].sum() < right[middle, right.shape[1] // 3].sum()


def test_the_tool(tmp_path, capsys):
    (tmp_path / 'images').mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{number}$a$_$.png')
    config = mae_config(data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3))
    checkpoint = saved(randomized(build(config)), config, tmp_path / 'x.pth')
    argv = [checkpoint, tmp_path / 'images', '--steps', 2, '--points', 3, '--picture', tmp_path / 'x.png']
    runs.run('visualization/landscape.py', *argv)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 and shown[0].startswith('0$a$_$.png: features move by ') and shown[0].endswith('at eps 8')
    assert np.array(Image.open(tmp_path / 'x.png')).shape[1] == 100 * (2 * 3.4 + 0.8)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('demo')
    runs.train(runs.AEMIM, work_dir)
    return work_dir / 'epoch_1.pth'


def test_panels_of_a_checkpoint(trained, tmp_path, capsys):
    options = [option for option in runs.SHRUNK if option.startswith('model.')]
    for name, seed in (('one', 0), ('two', 0), ('other', 1)):
        argv = [runs.AEMIM, trained, '--rows', 2, '--seed', seed, '--picture', tmp_path / f'{name}.png']
        runs.run('visualization/reconstructions.py', *argv, '--cfg-options', *options)
    one, two, other = (np.array(Image.open(tmp_path / f'{name}.png')) for name in ('one', 'two', 'other'))
    # Seven pictures of 28 pixels, enlarged 6 times; heading and footnote.
    assert one.shape == (24 + 2 * (168 + 6) + 22, 7 * (168 + 6), 3)
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    few = ['--rows', 99, '--cfg-options', *options, 'train_dataloader.dataset.limit=3']
    runs.run('visualization/reconstructions.py', runs.AEMIM, trained, '--picture', tmp_path / 'few.png', *few)
    assert np.array(Image.open(tmp_path / 'few.png')).shape[0] == 24 + 3 * (168 + 6) + 22
    mae = runs.MAE, trained, '--cfg-options', *options
    with pytest.raises(SystemExit) as end:
        runs.run('visualization/reconstructions.py', *mae)
    assert end.value.code == 2 and 'trains a MAE, which has no attack' in capsys.readouterr().err
