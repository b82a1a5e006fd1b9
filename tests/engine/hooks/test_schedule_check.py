"""Schedules that do not fit the length of the training, and those that a checkpoint holds."""

import os

import pytest
import torch
from helpers import runs

from aemim_mm.engine.optim import Bfloat16OptimWrapper
from aemim_mm.errors import UserError

COSINE = ('param_scheduler.1.T_max=2', 'param_scheduler.1.begin=0', 'param_scheduler.1.end=2')
SHORT = (*COSINE, 'param_scheduler.0.end=1', 'train_dataloader.batch_size=4')


def warnings_of(work_dir):
    return [line.split('WARNING - ')[1] for line in runs.log_of(work_dir).splitlines() if 'Schedule: ' in line]


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('schedules')
    runs.train(runs.AEMIM, folder, options=SHORT, epochs=2)
    return folder


def test_a_schedule_that_fits_is_not_mentioned(two_epochs):
    assert warnings_of(two_epochs) == []


def test_a_warm_up_that_never_ends_is_named(tmp_path):
    runs.train(runs.AEMIM, tmp_path)
    warm_up, cosine = warnings_of(tmp_path)
    assert warm_up.startswith(
        'Schedule: param_scheduler.0 (LinearLR) ends at iteration 8, but the training ends at 4: '
    )
    assert cosine == (
        'Schedule: param_scheduler.1 (CosineAnnealingLR) begins at iteration 8, but the training ends at 4: it has no '
        'effect.'
    )


def test_a_training_that_is_prolonged_where_the_rate_is_zero_is_an_error(two_epochs, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        runs.train(runs.AEMIM, tmp_path, '--resume', two_epochs / 'epoch_2.pth', options=SHORT, epochs=4)
    error = capsys.readouterr().err
    assert end.value.code == 2 and 'The schedules of the checkpoint are over at iteration 32, where the' in error
    assert 'load_from=CHECKPOINT resume=False, without --resume' in error


def test_a_changed_schedule_is_said_to_be_ignored(two_epochs, tmp_path):
    changed = [option.replace('=2', '=4') for option in SHORT]
    runs.train(runs.AEMIM, tmp_path, '--resume', two_epochs / 'epoch_1.pth', options=changed, epochs=4)
    ignored, over = warnings_of(tmp_path)
    assert '(CosineAnnealingLR) goes on as in the checkpoint, with T_max=32, end=32; T_max=64, end=64 of' in ignored
    assert over.startswith('Schedule: the schedules end at iteration 32 of 64: from there on, the ')


def test_a_finished_training_says_so(two_epochs, tmp_path):
    runs.train(runs.AEMIM, tmp_path, '--resume', two_epochs / 'epoch_2.pth', options=SHORT, epochs=2)
    assert 'at the end of the training, iteration 32 of 32: nothing is left to do' in warnings_of(tmp_path)[0]


def test_deterministic_products_on_cuda_are_set_up(tmp_path, monkeypatch):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', '')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    seen = []
    forward = torch.nn.Linear.forward
    monkeypatch.setattr(
        torch.nn.Linear,
        'forward',
        lambda self, x: (seen.append(os.environ['CUBLAS_WORKSPACE_CONFIG']), forward(self, x))[1],
    )
    runs.train(runs.AEMIM, tmp_path, options=['randomness.deterministic=True'])
    torch.use_deterministic_algorithms(False)
    assert set(seen) == {':4096:8'}


def test_a_gpu_without_bfloat16_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (7, 0))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'V100')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1)
    with pytest.raises(UserError, match='V100 does not compute in bfloat16. Train in float32 with'):
        Bfloat16OptimWrapper(optimizer)
