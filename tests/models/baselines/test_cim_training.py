"""Trainings of CIM's tokenizer and of CIM by the Runner."""

import pytest
import torch
from helpers import faults, runs

VQ = runs.CONFIGS / 'demo/vq-tokenizer_16e_fashion-mnist.py'
CIM = runs.CONFIGS / 'demo/cim_vit-tiny_40e_fashion-mnist.py'
FILE = 'model.target_generator.tokenizer.init_cfg.checkpoint'
DATA = (
    'train_dataloader.dataset.limit=32',
    'train_dataloader.batch_size=16',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
)
SHRUNK = (*DATA, 'model.backbone.arch.num_layers=1', 'model.generator.backbone.arch.num_layers=1')


def test_cim_takes_the_tokenizer_of_another_training_and_resumes_exactly(tmp_path, capfd):
    runs.train(VQ, tmp_path / 'vq', shrunk=DATA, epochs=1)
    tokenizer = tmp_path / 'vq/epoch_1.pth'
    options = [f'{FILE}={tokenizer}']
    runs.train(CIM, tmp_path / 'whole', options=options, shrunk=SHRUNK, epochs=2)
    argv = '--resume', tmp_path / 'whole/epoch_1.pth'
    runs.train(CIM, tmp_path / 'parts', *argv, options=options, shrunk=SHRUNK, epochs=2)
    faults.assert_same_training(tmp_path / 'parts/epoch_2.pth', tmp_path / 'whole/epoch_2.pth')
    assert 'is skipped' not in capfd.readouterr().out
    trained, saved = runs.weights(tokenizer), runs.weights(tmp_path / 'whole/epoch_2.pth')
    for name, value in trained.items():
        assert torch.equal(saved[f'target_generator.tokenizer.{name}'], value), name
    assert all(0 < step['replaced'] < 1 for step in runs.scalars(tmp_path / 'whole'))


def test_a_missing_tokenizer_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        runs.train(CIM, tmp_path, options=[f'{FILE}=/nowhere/vq.pth'], shrunk=SHRUNK)
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert end.value.code == 2 and 'There is no checkpoint /nowhere/vq.pth.' in message
    assert 'a VQ tokenizer' in message and 'tools/train.py configs/demo/vq-tokenizer_16e_fashion-mnist.py' in message
    assert f'--cfg-options {FILE}=FILE' in message
