"""The embedded data are complete and balanced, and the right split is read."""

import os.path as osp
import shutil

import numpy as np
import pytest
from mmpretrain.registry import DATASETS

from aemim_mm.datasets import DemoFashionMNIST
from aemim_mm.datasets.demo import EMBEDDED
from aemim_mm.errors import UserError


def idx(name, header):
    return np.fromfile(osp.join(EMBEDDED, name), np.uint8)[header:]


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('split, prefix, per_class', [('train', 'train', 500), ('test', 't10k', 200)])
def test_split_equals_the_files(split, prefix, per_class, test_mode):
    dataset = DATASETS.build({'type': 'DemoFashionMNIST', 'split': split, 'test_mode': test_mode})
    assert dataset.test_mode is test_mode and len(dataset.CLASSES) == 10
    labels = dataset.get_gt_labels()
    np.testing.assert_array_equal(labels, idx(f'{prefix}-labels-idx1-ubyte', 8))
    assert np.bincount(labels).tolist() == [per_class] * 10
    images = idx(f'{prefix}-images-idx3-ubyte', 16).reshape(-1, 28, 28)
    assert len(dataset) == len(images)
    for i in (0, 1, len(images) - 1):
        np.testing.assert_array_equal(dataset[i]['img'], images[i])


def test_limit_takes_the_first_images():
    whole, part = DemoFashionMNIST(), DemoFashionMNIST(limit=500)
    np.testing.assert_array_equal(part.get_gt_labels(), whole.get_gt_labels()[:500])
    np.testing.assert_array_equal(part[499]['img'], whole[499]['img'])
    assert np.bincount(part.get_gt_labels()).min() >= 25


@pytest.mark.parametrize('limit', [0, -1, 2.5, '10'])
def test_wrong_limit(limit):
    with pytest.raises(UserError, match='at least 1'):
        DemoFashionMNIST(limit=limit)


def test_wrong_split():
    with pytest.raises(UserError, match="'train' or 'test', but got 'val'"):
        DemoFashionMNIST(split='val')


def test_other_folder_is_read(tmp_path):
    shutil.copytree(EMBEDDED, tmp_path, dirs_exist_ok=True)
    swapped = idx('train-labels-idx1-ubyte', 8)[::-1]
    path = tmp_path / 'train-labels-idx1-ubyte'
    path.write_bytes(path.read_bytes()[:8] + swapped.tobytes())
    np.testing.assert_array_equal(DemoFashionMNIST(data_root=str(tmp_path)).get_gt_labels(), swapped)


def test_missing_files_are_named(tmp_path):
    shutil.copy(osp.join(EMBEDDED, 'train-images-idx3-ubyte'), tmp_path)
    with pytest.raises(UserError) as error:
        DemoFashionMNIST(data_root=str(tmp_path))
    missing, fix = str(error.value).split(' not in ')
    assert 'train-images' not in missing and 'train-labels' in missing and 't10k-images' in missing
    assert str(tmp_path) in fix and '--data-root DIR' in fix
