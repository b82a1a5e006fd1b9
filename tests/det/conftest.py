"""Install the stand-in for mmcv's operators before a test imports mmcv.ops or mmdet; share a small data set."""

import shutil

import pytest
from helpers import coco_shapes

import aemim_mm.det  # noqa: F401
from aemim_mm.robustness.measurement import quick_collection


@pytest.fixture(scope='session')
def made_coco(tmp_path_factory):
    """Eight images of 64 pixels for training, and eight for validation."""
    root = tmp_path_factory.mktemp('coco')
    for seed, split in enumerate(('train', 'val')):
        coco_shapes.make_split(root, split, 8, size=64, seed=seed)
        (root / f'{split}2017/sub').mkdir()
    return root


@pytest.fixture(scope='module')
def quick():
    """mmengine's data sets collect garbage when they are built, which takes half a second with the stack imported."""
    with quick_collection():
        yield


@pytest.fixture
def coco_root(made_coco, quick, tmp_path):
    """A copy of the data, which tests may damage."""
    return shutil.copytree(made_coco, tmp_path / 'data')
