"""tools/analysis_tools/movement.py on the demo's images."""

import pytest
from helpers import runs

from aemim_mm.errors import UserError
from aemim_mm.launch import load_config

SMALL = ['train_dataloader.batch_size=16', 'model.backbone.arch.num_layers=1']


@pytest.fixture(scope='module')
def tool():
    return runs.tool('analysis_tools/movement.py')


def test_movement_grows_with_eps_and_the_attack_is_stronger_than_noise(tool):
    cfg = load_config(runs.AEMIM, options=SMALL)
    found = tool.movement(cfg, None, [2, 8.5])
    assert list(found) == ['2', '8.5'] and found == tool.movement(cfg, None, [2, 8.5])
    for name in ('noise', 'attack'):
        assert 3 < found['8.5'][name] / found['2'][name] < 5, 'about 8.5 / 2: the features are nearly linear'
    assert found['2']['attack'] > 1.5 * found['2']['noise'] > 0


def test_fewer_images_than_a_batch(tool):
    cfg = load_config(runs.AEMIM, options=[*SMALL, 'train_dataloader.dataset.limit=5'])
    assert tool.movement(cfg, None, [2])['2']['attack'] > 0


def test_a_training_without_an_attack_is_refused(tool):
    mae = load_config(runs.CONFIGS / 'demo/mae_vit-tiny_16e_fashion-mnist.py', options=SMALL)
    with pytest.raises(UserError, match='trains a MAE, which has no attack. Name a config of AEMIM'):
        tool.movement(mae, None, [2])
    with pytest.raises(UserError, match='eps'):
        tool.movement(load_config(runs.AEMIM, options=SMALL), None, [-1])
