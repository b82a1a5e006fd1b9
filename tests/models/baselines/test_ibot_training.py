"""Trainings of iBOT by the Runner: exact resume, the frozen last layer, weight decay."""

import pytest
import torch
from helpers import faults, runs, tiny
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS

from aemim_mm.launch import load_config

CONFIG = runs.CONFIGS / 'demo/ibot_vit-tiny_32e_fashion-mnist.py'
SHRUNK = (
    'train_dataloader.dataset.limit=32',
    'train_dataloader.batch_size=16',
    'model.backbone.arch.num_layers=1',
    'model.head.out_channels=32',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
)


def train(work_dir, *argv, **settings):
    runs.train(CONFIG, work_dir, *argv, shrunk=SHRUNK, **settings)


def test_a_resumed_training_is_exact_and_the_last_layer_waits_an_epoch(tmp_path, capfd):
    train(tmp_path / 'whole', epochs=2)
    train(tmp_path / 'parts', '--resume', tmp_path / 'whole/epoch_1.pth', epochs=2)
    faults.assert_same_training(tmp_path / 'parts/epoch_2.pth', tmp_path / 'whole/epoch_2.pth')
    # mmengine warns of each frozen parameter, which is no news about a teacher.
    assert 'is skipped' not in capfd.readouterr().out
    first, second = (runs.weights(tmp_path / f'whole/epoch_{epoch}.pth') for epoch in (1, 2))
    assert {'centers', 'teacher.backbone.cls_token'} <= first.keys()
    assert not torch.equal(first['centers'], second['centers'])
    name = 'head.last_layer.weight'
    # The average of a layer that has not moved is this layer.
    assert torch.equal(first[name], first[f'teacher.{name}'])
    assert not torch.equal(second[name], first[name])
    name = 'head.projection.0.weight'
    assert not torch.equal(first[name], first[f'teacher.{name}'])


def test_weight_decay_rises_where_there_is_any():
    cfg = load_config(runs.CONFIGS / 'baselines/ibot_vit-b_400e.py')
    model = tiny.build(tiny.ibot())
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    (config,) = (each for each in cfg.param_scheduler if each.get('param_name') == 'weight_decay')
    config.pop('convert_to_iter_based')
    scheduler = PARAM_SCHEDULERS.build(dict(config, optimizer=optim))
    seen = []
    for _ in range(400):
        seen.append(sorted({group['weight_decay'] for group in optim.param_groups}))
        optim.step()
        scheduler.step()
    assert all(len(values) == 2 and values[0] == 0 for values in seen)
    assert [seen[0][1], seen[200][1], seen[-1][1]] == pytest.approx([0.04, 0.22, 0.4], rel=1e-3)
