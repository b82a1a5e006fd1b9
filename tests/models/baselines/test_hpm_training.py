"""Trainings of HPM by the Runner, alone and with AEMIM on it: exact resume, and masks that get harder."""

import pytest
import torch
from helpers import faults, runs

from aemim_mm.models import HPM

CONFIG = 'demo/{}_vit-tiny_16e_fashion-mnist.py'
SHRUNK = [option.replace('num_layers=2', 'num_layers=1') for option in runs.SHRUNK]


@pytest.fixture
def hard(monkeypatch):
    """Return a list that grows by the number of hard patches of each image whenever a mask is drawn."""
    counts, draw = [], HPM.priorities

    def drawn(model, predicted):
        priorities = draw(model, predicted)
        counts.append((priorities >= 1).sum(1).tolist())
        return priorities

    monkeypatch.setattr(HPM, 'priorities', drawn)
    return counts


# AEMIM runs the encoder twice more for the attack, and once in the adversarial pass.
@pytest.mark.parametrize(('name', 'masks'), [('hpm', 1), ('aehpm', 4)])
def test_a_resumed_training_is_exact_and_masks_get_harder(name, masks, tmp_path, hard):
    config = runs.CONFIGS / CONFIG.format(name)
    runs.train(config, tmp_path / 'whole', epochs=3, shrunk=SHRUNK)
    # 12 of 16 patches are hidden. At last, a quarter of them are hard.
    assert hard == [[count] * 16 for count in (1, 2, 3) for _ in range(4 * masks)]
    hard.clear()
    runs.train(config, tmp_path / 'parts', '--resume', tmp_path / 'whole/epoch_2.pth', epochs=3, shrunk=SHRUNK)
    assert hard == [[3] * 16] * 4 * masks
    faults.assert_same_training(tmp_path / 'parts/epoch_3.pth', tmp_path / 'whole/epoch_3.pth')
    weights = runs.weights(tmp_path / 'whole/epoch_3.pth')
    for part in ('backbone.cls_token', 'neck.loss_pred.weight'):
        assert not torch.equal(weights[part], weights[f'teacher.{part}'])
    assert not any(key.startswith('teacher.') and key.endswith('_adv') for key in weights)
