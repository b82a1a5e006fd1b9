"""Slips in a config: one line names the config, the field, what was got and what is near."""

import re

import pytest
from helpers import runs

# mmengine does not close its copy of a config that it cannot read.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


def error_of(capsys, config, tmp_path, options=()):
    with pytest.raises(SystemExit) as end:
        runs.train(config, tmp_path / 'work', options=options)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith('error: ') and error.count('\n') == 1
    return error


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        (
            'train_dataloader.dataset.type=DemoFashionMINST',
            "dataset.type: there is no 'DemoFashionMINST'.*DemoFashionMNIST",
        ),
        ('train_dataloader.dataset.pipeline.0.type=RandomFlop', 'pipeline.0.type: .* Did you mean RandomFlip'),
        ('model.type=AEMIN', "model.type: there is no 'AEMIN'.* Did you mean .*AEMIM"),
        ('model.neck.type=ViTDet', 'model.neck.*ViTDet'),
        (
            'model.backbone.patchsize=7',
            'backbone.patchsize: AEMIMViT takes no such field. Did you mean patch_size',
        ),
        ('model.backbone.arch=giant', r'model.backbone \(AEMIMViT\) has a wrong value: '),
        ('visualizer.vis_backends.0.type=LocalBackend', 'vis_backends.0.type: .* Did you mean LocalVisBackend'),
        ('custom_hooks.0.type=PanelHook', r'custom_hooks is a list of dict\(...\), but got .*PanelHook'),
        ('default_hooks.chekpoint.interval=1', 'default_hooks.chekpoint'),
        ('train_dataloader.num_wokers=0', 'train_dataloader.num_wokers: .* Did you mean num_workers'),
        ('train_dataloader.sampler.type=Sampler', "train_dataloader.sampler.type: there is no 'Sampler'"),
        ('param_scheduler.0.type=CosinAnnealingLR', 'param_scheduler.0.type.*CosineAnnealingLR'),
        ('optim_wrapper.optimizer.type=AdamWW', "optimizer.type: there is no 'AdamWW'.* Did you mean .*AdamW"),
        ('optim_wrapper.optimizer.lr=1e-4x', "optim_wrapper.optimizer.lr is a number >= 0, but got '1e-4x'"),
        ('optim_wrapper.optimizer.lr=nan', 'optim_wrapper.optimizer.lr is a number >= 0, but got nan'),
        ('optim_wrapper.optimizer.betas=1', 'optim_wrapper.optimizer'),
        ('randomness.sed=1', 'sed'),
        ('train_dataloader.dataset=None', r'train_dataloader.dataset is dict\(...\), but got None'),
        ('train_cfg.by_epoch=False', 'train_cfg .*Only one of `type` or `by_epoch`'),
        ('log_processor.window_size=x', 'log_processor.window_size is a whole number >= 1'),
        ('randomness.seed=x', 'randomness.seed is a whole number >= 0'),
        ('model.neck=None', r'model \(AEMIM\) has a wrong value'),
        ('model=3', r'model is dict\(...\), but got 3'),
        ('custom_hooks=3', r'custom_hooks is a list of dict\(...\), but got 3'),
        ('optim_wrapper=None', 'has no optim_wrapper, so it cannot train'),
        ('train_cfg=None', 'has no train_cfg, so it cannot train'),
        ('model.head=None', 'model.head is None, but a training needs it'),
        ('train_dataloader.dataset.pipeline=[]', 'the pipeline of DemoFashionMNIST is empty'),
        ('resume=maybe', "resume is True or False, but got 'maybe'"),
        ('custom_imports.imports=[nope]', 'has no effect. Set it in the config'),
        ('launcher=pytorch', 'has no effect. Use the flag --launcher'),
        ('model=None', 'has no model'),
    ],
)
def test_a_wrong_field(option, words, tmp_path, capsys):
    error = error_of(capsys, runs.AEMIM, tmp_path, [option])
    assert re.search(words, error), error
    assert not list(tmp_path.glob('work/*.pth'))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('model = dict(a=1\n', "line 2: SyntaxError: '\\(' was never closed|line 2: SyntaxError"),
        ('train_dataloader = 3\n', 'train_dataloader'),
        ('\nx = undefined\n', "line 3: NameError: name 'undefined' is not defined"),
        ('model = dict(backbone=dict(arch=3 / 0))\n', 'line 2: ZeroDivisionError'),
        ('custom_imports = dict(imports=["no_such_package"])\n', 'no_such_package'),
    ],
)
def test_a_config_that_is_no_config(text, words, tmp_path, capsys):
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {str(runs.AEMIM)!r}\n{text}')
    error = error_of(capsys, config, tmp_path)
    assert str(config) in error and re.search(words, error), error


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.py', "_base_ = './gone.py'\n", 'FileNotFoundError.*gone.py'),
        ('a.py', '', 'has no train_dataloader and no train_cfg and no optim_wrapper, so it cannot train'),
        ('a.json', '{"model": ', 'JSONDecodeError'),
        ('a.txt', 'model = 1', 'Only py/yml/yaml/json'),
        ('a.py', f'_base_ = [{str(runs.AEMIM)!r}, {str(runs.MAE)!r}]', 'Duplicate key'),
    ],
)
def test_a_file_that_is_no_config(name, text, words, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        runs.run('train.py', tmp_path / name, '--work-dir', tmp_path / 'work')
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count('\n') == 1
    assert str(tmp_path / name) in error and re.search(words, error), error


def test_a_bug_keeps_its_traceback(tmp_path, monkeypatch):
    """An exception that no part of the config raised while it was built."""
    from aemim_mm.models import AEMIM

    monkeypatch.setattr(AEMIM, 'loss', lambda *args, **kwargs: {}['bug'])
    with pytest.raises(KeyError, match='bug'):
        runs.train(runs.AEMIM, tmp_path)
