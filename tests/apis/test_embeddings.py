"""Features of a folder of images, and pictures of nearest neighbours."""

import re

import numpy as np
import pytest
import torch
from helpers import runs
from helpers.encoders import mae_config, randomized, saved
from helpers.tiny import build
from PIL import Image

import aemim_mm
from aemim_mm.apis.embeddings import embed_folder
from aemim_mm.errors import UserError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    config = mae_config(data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3))
    return saved(randomized(build(config)), config, tmp_path_factory.mktemp('aemim') / 'epoch_1.pth')


@pytest.fixture
def folder(tmp_path):
    """Five images of noise, two of which are the same, a file that is no image, and one that is broken."""
    generator = np.random.default_rng(0)
    for name in ('a/one.png', 'a/two.png', 'b/three.JPG', 'four.png'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(path)
    content = (tmp_path / 'images/a/two.png').read_bytes()
    (tmp_path / 'images/copy.png').write_bytes(content)
    (tmp_path / 'images/b/broken.png').write_bytes(content[:300])
    (tmp_path / 'images/notes.txt').write_text('no image')
    return tmp_path / 'images'


@pytest.mark.parametrize('batch_size', [2, 64])
def test_each_image_has_its_features(checkpoint, folder, batch_size):
    encoder = aemim_mm.load_encoder(checkpoint)
    paths, features, unreadable = embed_folder(encoder, folder, batch_size)
    assert paths == ['a/one.png', 'a/two.png', 'b/three.JPG', 'copy.png', 'four.png']
    assert unreadable == ['b/broken.png']
    expected = encoder(encoder.preprocess([folder / path for path in paths]))
    torch.testing.assert_close(features, expected)


def test_the_tool_writes_them(checkpoint, folder, tmp_path, capsys):
    runs.run('embed.py', checkpoint, folder, '--out', tmp_path / 'x.npz', '--out-type', 'avg_featmap')
    shown = capsys.readouterr().out
    assert (
        'x.npz: features (5, 48) (avg_featmap) of 5 images' in shown and '1 files cannot be read: b/broken.png' in shown
    )
    written = np.load(tmp_path / 'x.npz')
    paths, features, _ = embed_folder(aemim_mm.load_encoder(checkpoint, out_type='avg_featmap'), folder)
    assert written['paths'].tolist() == paths
    np.testing.assert_array_equal(written['features'], features.numpy())


def test_neighbours(checkpoint, folder, tmp_path, capsys):
    argv = ['--queries', 'copy.png', 'four.png', '--k', 2, '--picture', tmp_path / 'x.png']
    runs.run('visualization/neighbours.py', checkpoint, folder, *argv)
    left_out, first, second, _ = capsys.readouterr().out.splitlines()
    assert left_out == '1 files cannot be read, and are left out: b/broken.png'
    assert first.startswith('copy.png: a/two.png (1.00), ') and second.startswith('four.png: ')
    # Headings are 24 pixels high, and between pictures are 6; each is enlarged 5 times, to 160 pixels.
    picture = np.array(Image.open(tmp_path / 'x.png'))
    encoder = aemim_mm.load_encoder(checkpoint)
    for row, name in enumerate(('copy.png', 'four.png')):
        drawn = picture[24 + row * 166 :][:160, :160]
        np.testing.assert_array_equal(drawn[2::5, 2::5], encoder.pixels(folder / name))
    np.testing.assert_array_equal(picture[24:184, :160], picture[24:184, 166:326], 'the copy is nearest')


def test_fewer_neighbours_than_files(checkpoint, folder, tmp_path):
    argv = ['--queries', 'four.png', '--k', 5, '--picture', tmp_path / 'x.png']
    runs.run('visualization/neighbours.py', checkpoint, folder, *argv)
    # The image, and four others that can be read.
    assert np.array(Image.open(tmp_path / 'x.png')).shape[1] == 5 * 166


def test_wrong_input(checkpoint, folder, tmp_path, capsys):
    encoder = aemim_mm.load_encoder(checkpoint)
    with pytest.raises(UserError, match='There is no image folder'):
        embed_folder(encoder, tmp_path / 'gone')
    (tmp_path / 'text').mkdir()
    (tmp_path / 'text/notes.txt').write_text('no image')
    with pytest.raises(UserError, match=r'There is no image in .*, but 1 other files'):
        embed_folder(encoder, tmp_path / 'text')
    (tmp_path / 'text/broken.png').write_bytes(b'no image')
    with pytest.raises(UserError, match='batch_size is a whole number >= 1'):
        embed_folder(encoder, folder, -1)
    with pytest.raises(UserError, match='None of the 1 images in .* can be read, first broken.png'):
        embed_folder(encoder, tmp_path / 'text')
    for argv, message in (
        (['embed.py', checkpoint, folder, '--out', tmp_path / 'x.pth'], 'a file that ends in .npz'),
        (['embed.py', checkpoint, folder, '--batch-size', 0], '--batch-size is a whole number >= 1'),
        (['visualization/neighbours.py', checkpoint, folder, '--k', 6], '--k is from 1 to 5'),
        (['visualization/neighbours.py', checkpoint, folder, '--queries', 'b/broken.png'], 'none of --queries'),
        (['visualization/neighbours.py', checkpoint, folder, '--rows', 0], '--rows is a whole number >= 1'),
        (
            ['visualization/neighbours.py', checkpoint, folder, '--queries', 'fuor.png'],
            'There is no image fuor.png in .*. Did you mean four.png',
        ),
        (
            ['visualization/neighbours.py', checkpoint, folder, '--picture', tmp_path / 'gone/x.png'],
            '--picture is a file that ends in .png, .jpg, .webp, in a folder that exists',
        ),
    ):
        with pytest.raises(SystemExit) as end:
            runs.run(*argv)
        assert end.value.code == 2 and re.search(message, capsys.readouterr().err)
