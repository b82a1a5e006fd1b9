"""The labelled images of a config: whole, without augmentation, in the pipeline of the test; and probed by the tool."""

import json

import numpy as np
import pytest
import torch
from helpers import runs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from aemim_mm.datasets.of_config import labelled_data
from aemim_mm.errors import UserError


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    """Set mmpretrain's scope, as the tools do."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def drawings(tmp_path):
    """Write a config of a classifier, with 24 training and 16 test images of two classes: dark and bright."""
    for part, count in (('train', 24), ('test', 16)):
        for number in range(count):
            path = tmp_path / part / ('bright' if number % 2 else 'dark') / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 100, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels + 150 * (number % 2)).save(path)
    config = tmp_path / 'classifier.py'
    base = runs.CONFIGS / 'demo/vit-tiny_16e_openclipart.py'
    loaders = ''.join(
        f"{name}_dataloader = dict(dataset=dict(data_root='{tmp_path}'))\n" for name in ('train', 'val', 'test')
    )
    config.write_text(f"_base_ = '{base}'\n{loaders}")
    return config


@pytest.mark.parametrize(('split', 'count'), [('train', 24), ('test', 16)])
def test_images_of_both_splits_are_those_that_a_test_would_see(drawings, split, count):
    dataset = labelled_data(drawings, split)
    assert len(dataset) == count and np.bincount(dataset.get_gt_labels()).tolist() == [count // 2] * 2
    for number in range(count):
        image = Image.open(dataset.get_data_info(number)['img_path']).resize((48, 48), Image.Resampling.BICUBIC)
        # BGR, which the data preprocessor makes RGB.
        expected = np.asarray(image)[..., ::-1].transpose(2, 0, 1)
        np.testing.assert_array_equal(dataset[number]['inputs'].numpy(), expected)


@pytest.mark.parametrize(('split', 'count'), [('train', 5000), ('test', 2000)])
def test_fine_tuning_with_few_labels_has_the_same_images_as_the_pre_training(split, count):
    few = Config.fromfile(runs.CONFIGS / 'demo/vit-tiny_16e_fashion-mnist.py')
    assert few.train_dataloader.dataset.limit == 500
    whole, other = labelled_data(few, split), labelled_data(runs.AEMIM, split)
    assert len(whole) == len(other) == count
    np.testing.assert_array_equal(whole.get_gt_labels(), other.get_gt_labels())
    assert all(torch.equal(whole[number]['inputs'], other[number]['inputs']) for number in range(20))


def test_data_without_labels_are_an_error():
    with pytest.raises(UserError, match='mae_vit-tiny_16e_openclipart.py has no labelled .* UnlabelledFolder'):
        labelled_data(runs.CONFIGS / 'demo/mae_vit-tiny_16e_openclipart.py', 'train')


def test_the_probe_measures_an_encoder_on_the_images_of_another_config(drawings, tmp_path, capsys):
    config, out = runs.CONFIGS / 'demo/mae_vit-tiny_16e_openclipart.py', tmp_path / 'probe.json'
    runs.run('analysis_tools/probe.py', config, '--data', drawings, '--out', out)
    assert json.loads(out.read_text()) == {'untrained': {'linear': 100.0, 'knn': 100.0}}
    assert ' 100.0   100.0  untrained\n' in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        runs.run('analysis_tools/probe.py', config)
    assert end.value.code == 2 and '--data CONFIG' in capsys.readouterr().err
