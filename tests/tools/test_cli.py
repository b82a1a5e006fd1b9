"""The command lines: quick help, tools/test.py, print_config.py."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from helpers import runs
from mmengine.config import Config

from aemim_mm.launch import load_config

SCRIPTS = (
    'train.py',
    'test.py',
    'export.py',
    'robustness.py',
    'demo.py',
    'study.py',
    'doctor.py',
    'analysis_tools/gpu_check.py',
    'analysis_tools/instruments.py',
    'analysis_tools/print_config.py',
    'analysis_tools/report.py',
)


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_imports_nothing_slow(script):
    command = [sys.executable, '-X', 'importtime', runs.REPO / 'tools' / script, '--help']
    environment = {**os.environ, 'PYTHONPATH': str(runs.REPO)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(f'usage: {script.split("/")[-1]}')
    imported = {line.split('|')[-1].strip() for line in done.stderr.splitlines() if line.startswith('import time:')}
    assert 'argparse' in imported and imported.isdisjoint({'torch', 'mmengine', 'mmcv', 'numpy', 'cv2'})


@pytest.mark.parametrize('script', ['train.py', 'test.py'])
def test_flags_that_users_know(script, capsys):
    with pytest.raises(SystemExit):
        runs.run(script, '--help')
    shown = capsys.readouterr().out
    known = {'train.py': ['--resume', '--amp', '--auto-scale-lr', '--no-validate'], 'test.py': ['--out']}
    for flag in [
        '--work-dir',
        '--cfg-options',
        '--launcher',
        '--local-rank',
        '--local_rank',
        '--data-root',
        *known[script],
    ]:
        assert flag in shown


CLASSIFIER = """
_base_ = {base!r}
model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64),
        img_size=28,
        patch_size=7,
        in_channels=1,
        out_type='avg_featmap'),
    head=dict(type='LinearClsHead', in_channels=32, num_classes=10, topk=(1, 5)))
data_preprocessor = dict(num_classes=10, mean=[73.0], std=[90.0])
plain = [dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(limit=None, pipeline=plain))
val_dataloader = dict(
    batch_size=100, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DemoFashionMNIST', split='test', limit=300, test_mode=True, pipeline=plain))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
param_scheduler = None
train_cfg = dict(max_epochs=1, val_interval=1)
"""
QUICK = ('default_hooks.checkpoint.interval=1', 'train_dataloader.batch_size=50')


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    """A config of mmpretrain with validation, and the work directory of one epoch of its training."""
    folder = tmp_path_factory.mktemp('classifier')
    config = folder / 'classifier.py'
    config.write_text(CLASSIFIER.format(base=str(runs.AEMIM)))
    runs.train(config, folder / 'train', shrunk=QUICK)
    return config, folder / 'train'


def metrics(work_dir):
    files = sorted(work_dir.glob('*/*.json'))
    return json.loads(files[-1].read_text().splitlines()[-1])


def test_test_measures_what_validation_measured(classifier, tmp_path, capsys):
    config, trained = classifier
    checkpoint = trained / 'epoch_1.pth'
    runs.test(config, checkpoint, tmp_path / 'test', '--out', tmp_path / 'out.pkl')
    got = metrics(tmp_path / 'test')
    rows = [json.loads(line) for line in next(trained.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    assert got['accuracy/top1'] == pytest.approx(rows[-1]['accuracy/top1'])
    # The predictions written are those of the figure, far above the chance of 10 %.
    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    right = [int(item['pred_label']) == int(item['gt_label']) for item in predictions]
    assert len(right) == 300 and got['accuracy/top1'] == pytest.approx(100 * sum(right) / 300, abs=0.01)
    assert got['accuracy/top1'] > 30
    assert f'accuracy/top1: {got["accuracy/top1"]:.4f}' in runs.log_of(tmp_path / 'test')


def test_no_validate(classifier, tmp_path):
    config, trained = classifier
    runs.train(config, tmp_path, '--no-validate', shrunk=QUICK, options=['train_dataloader.dataset.limit=100'])
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert 'accuracy' in runs.log_of(trained) and 'accuracy' not in runs.log_of(tmp_path)


def failing_test(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        runs.test(*argv)
    stderr = capsys.readouterr().err
    assert end.value.code == 2 and stderr.count('error: ') == 1 and 'Traceback' not in stderr
    return stderr


def test_nothing_to_test(classifier, tmp_path, capsys):
    checkpoint = classifier[1] / 'epoch_1.pth'
    message = failing_test(capsys, runs.AEMIM, checkpoint, tmp_path)
    assert f'{runs.AEMIM} cannot be tested: it has no test_dataloader or no test_evaluator.' in message


def test_a_checkpoint_without_the_head_is_refused(classifier, tmp_path, capsys):
    config, trained = classifier
    state = runs.weights(trained / 'epoch_1.pth')
    torch.save({name: value for name, value in state.items() if 'backbone' in name}, tmp_path / 'encoder.pth')
    message = failing_test(capsys, config, tmp_path / 'encoder.pth', tmp_path)
    assert '2 missing: head.fc.weight, head.fc.bias' in message
    message = failing_test(capsys, config, tmp_path / 'gone.pth', tmp_path)
    assert f'There is no checkpoint {tmp_path}/gone.pth.' in message


def test_missing_test_data(classifier, tmp_path, capsys):
    config, trained = classifier
    message = failing_test(capsys, config, trained / 'epoch_1.pth', tmp_path, '--data-root', '/nowhere')
    assert 'There is no data folder /nowhere (DemoFashionMNIST' in message and '--data-root DIR' in message


@pytest.mark.parametrize('config', [runs.AEMIM, runs.CONFIGS / 'aemim_vit-b_folder.py'])
def test_printed_config_parses_to_the_same(config, capsys, tmp_path):
    runs.run('analysis_tools/print_config.py', config, '--cfg-options', 'model.adv_weight=0.25')
    (tmp_path / 'printed.py').write_text(capsys.readouterr().out)
    printed, expected = Config.fromfile(tmp_path / 'printed.py'), load_config(config)
    assert printed.model.adv_weight == 0.25 and 'custom_imports' in printed
    del printed.model.adv_weight
    for name in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'):
        assert printed[name] == expected[name], name
    assert printed.train_dataloader.dataset == expected.train_dataloader.dataset


def test_printing_a_missing_config(capsys):
    with pytest.raises(SystemExit) as end:
        runs.run('analysis_tools/print_config.py', 'configs/gone.py')
    assert end.value.code == 2 and capsys.readouterr().err.startswith('error: There is no config configs/gone.py.')
