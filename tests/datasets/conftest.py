"""Photographs as files, whole and broken."""

import numpy as np
import pytest
from PIL import Image

from aemim_mm.datasets import DemoFashionMNIST


def load_photos():
    """RGB images, uint8: photographs of scikit-image if it is installed, else enlarged images of the embedded data."""
    try:
        from skimage import data
    except ImportError:
        demo = DemoFashionMNIST(limit=3)
        pictures = [np.kron(demo[i]['img'], np.ones((6, 6), np.uint8)) for i in range(3)]
        return [np.stack([picture, picture.T, 255 - picture], axis=2) for picture in pictures]
    return [np.ascontiguousarray(photo[100:268, 60:260]) for photo in (data.astronaut(), data.coffee(), data.chelsea())]


@pytest.fixture(scope='session')
def photos():
    return load_photos()


@pytest.fixture(scope='session')
def write(photos):
    """Write photographs with these names into a folder; return their paths."""

    def write(folder, names):
        paths = [folder / name for name in names]
        for i, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Shift each image, so that all differ.
            Image.fromarray(np.roll(photos[i % len(photos)], 7 * i, axis=1)).save(path)
        return paths

    return write


def _truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _random(path):
    path.write_bytes(np.random.default_rng(0).bytes(2000))


def _empty(path):
    path.write_bytes(b'')


BREAK = {'truncated': _truncated, 'random': _random, 'empty': _empty}


@pytest.fixture(scope='session')
def break_file():
    """Break a file in one of three ways."""
    return lambda path, how: BREAK[how](path)
