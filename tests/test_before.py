"""Files of an earlier version still work: a checkpoint, a dumped config, and a work directory that is resumed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import runs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

import aemim_mm

WORK_DIR = Path(__file__).parent / 'data/work_dir_0.1'
CONFIG = 'aemim_vit-tiny_16e_fashion-mnist.py'
DOMAINS = ('clean', 'adv')


@pytest.fixture(scope='module')
def expected():
    """What the earlier version computed; see README.md in the folder."""
    with np.load(WORK_DIR / 'expected.npz') as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def test_a_checkpoint_loads_into_the_model_of_its_config(expected):
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(WORK_DIR / CONFIG).model)
    model.load_state_dict(runs.weights(WORK_DIR / 'epoch_1.pth'), strict=True)
    model.eval()
    images = model.data_preprocessor(dict(inputs=expected['images'][:, None], data_samples=None))['inputs']
    for domain in DOMAINS:
        with torch.no_grad(), aemim_mm.use_domain(model, aemim_mm.Domain[domain.upper()]):
            features = model.backbone(images, mask=None)[-1]
        torch.testing.assert_close(features, expected[f'features {domain}'], rtol=0, atol=1e-5)


@pytest.mark.parametrize('domain', DOMAINS)
def test_load_encoder_reads_a_checkpoint(expected, domain):
    encoder = aemim_mm.load_encoder(WORK_DIR / 'epoch_1.pth', domain=domain)
    features = encoder(encoder.preprocess(list(expected['images'].numpy())))
    torch.testing.assert_close(features, expected[f'encoder {domain}'], rtol=0, atol=1e-5)


def test_a_work_directory_is_resumed_with_its_dumped_config(expected, tmp_path):
    work_dir = shutil.copytree(WORK_DIR, tmp_path / 'work_dir')
    runs.run('train.py', work_dir / CONFIG, '--work-dir', work_dir, '--resume')
    assert 'resumed epoch: 1, iter: 4' in runs.log_of(work_dir)
    weights = runs.weights(work_dir / 'epoch_2.pth')
    assert weights.keys() == {name.removeprefix('weight ') for name in expected if name.startswith('weight ')}
    for name, value in weights.items():
        old = with_gradient(name, expected[f'weight {name}'])
        torch.testing.assert_close(with_gradient(name, value), old, rtol=0, atol=1e-6)


def with_gradient(name: str, value: torch.Tensor) -> tuple:
    """The parts of a parameter that have a gradient.

    The bias of the keys adds the same number to all logits of a query. Its gradient is a rounding error, which Adam
    turns into whole steps.
    """
    return value.chunk(3)[::2] if name.endswith('qkv.bias') else (value,)
