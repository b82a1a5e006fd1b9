"""Which files of a folder are used, and the errors for unsuitable folders."""

import os

import pytest
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import DATASETS

from aemim_mm.datasets import LoadWholeImage, UnlabelledFolder
from aemim_mm.errors import UserError


def listed(folder, **kwargs):
    dataset = UnlabelledFolder(str(folder), **kwargs)
    return [os.path.relpath(dataset.get_data_info(i)['img_path'], folder) for i in range(len(dataset))]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'x')


@pytest.mark.parametrize(
    'names',
    [['b.jpg', 'a.png'], ['c/x/y/z/b.jpg', 'c/a.png'], ['b.jpg', 'c/a.png', 'c/x/d.jpg', 'a b/ü.jpg']],
    ids=['flat', 'nested', 'mixed'],
)
def test_any_depth_in_sorted_order(tmp_path, names):
    touch(tmp_path, *names)
    assert listed(tmp_path) == sorted(names)


def test_all_kinds_in_both_cases_and_nothing_else(tmp_path):
    kinds = ['jpg', 'jpeg', 'png', 'bmp', 'tif', 'tiff', 'webp', 'ppm', 'pgm']
    wanted = [f'a.{kind}' for kind in kinds] + [f'B.{kind.upper()}' for kind in kinds] + ['c.JpEg', 'd.e.jpg']
    touch(tmp_path, *wanted, 'a.txt', 'jpg', 'a.jpg.part', 'a.gif', '.a.jpg', '._a.jpg', '.hidden/a.jpg', 'x/.y/a.jpg')
    assert listed(tmp_path) == sorted(wanted)


def test_links_are_followed_each_folder_once(tmp_path):
    touch(tmp_path, 'elsewhere/x/a.jpg', 'root/b.jpg', 'file.jpg')
    root = tmp_path / 'root'
    (root / 'c').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    (root / 'd').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    (root / 'e.jpg').symlink_to(tmp_path / 'file.jpg')
    (tmp_path / 'elsewhere/up').symlink_to(root, target_is_directory=True)
    assert listed(root) == ['b.jpg', 'c/x/a.jpg', 'e.jpg']
    (tmp_path / 'link').symlink_to(root, target_is_directory=True)
    assert listed(tmp_path / 'link') == ['b.jpg', 'c/x/a.jpg', 'e.jpg']


def test_prefix_list_and_home(tmp_path, monkeypatch):
    touch(tmp_path, 'train/a.jpg', 'train/b/c.jpg', 'val/d.jpg')
    (tmp_path / 'list.txt').write_text('b/c.jpg\n')
    assert listed(tmp_path, data_prefix='train') == ['train/a.jpg', 'train/b/c.jpg']
    assert listed(tmp_path, data_prefix='train', ann_file='list.txt') == ['train/b/c.jpg']
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(UnlabelledFolder('~/val')) == 1


def test_built_from_a_config(tmp_path, write):
    write(tmp_path, ['x/a.jpg', 'b.png'])
    dataset = DATASETS.build(
        {
            'type': 'UnlabelledFolder',
            'data_root': str(tmp_path),
            'pipeline': [
                {'type': 'LoadWholeImage'},
                {'type': 'RandomResizedCrop', 'scale': 32},
                {'type': 'PackInputs'},
            ],
        }
    )
    item = dataset[1]
    assert item['inputs'].shape == (3, 32, 32) and item['data_samples'].img_path == str(tmp_path / 'x/a.jpg')
    assert 'gt_label' not in item['data_samples']


@pytest.mark.parametrize(
    'step',
    [
        {'type': 'LoadImageFromFile', 'to_float32': True, 'color_type': 'grayscale'},
        LoadImageFromFile(to_float32=True, color_type='grayscale'),
    ],
    ids=['config', 'object'],
)
def test_opencv_loading_is_replaced(tmp_path, step):
    touch(tmp_path, 'a.jpg')
    (loading,) = UnlabelledFolder(str(tmp_path), pipeline=[step]).pipeline.transforms
    assert type(loading) is LoadWholeImage and loading.to_float32 and loading.color_type == 'grayscale'


def error_of(folder, **kwargs):
    with pytest.raises(UserError) as error:
        UnlabelledFolder(folder and str(folder), **kwargs)
    assert '--data-root DIR' in str(error.value) and 'DIR/any/depth/*.jpg' in str(error.value)
    return str(error.value)


def test_missing_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f'no image folder {tmp_path}/gone' in error_of('gone')
    assert 'got no folder' in error_of('')


def test_file_for_a_folder(tmp_path):
    touch(tmp_path, 'a.jpg')
    assert f'{tmp_path}/a.jpg is a file' in error_of(tmp_path / 'a.jpg')


def test_empty_folder(tmp_path):
    assert 'saw 0 other files.' in error_of(tmp_path)
    touch(tmp_path, 'a.txt', 'x/b.TXT', 'x/c.gif', 'LICENSE', '.d.jpg')
    message = error_of(tmp_path)
    assert f'no image in {tmp_path}' in message
    assert '.jpg, .jpeg, .png, .bmp, .tif, .tiff, .webp, .ppm, .pgm (upper case too)' in message
    assert 'saw 4 other files (most: 2 .txt' in message
