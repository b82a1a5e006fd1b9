"""Logging backends: what they receive, and that their failure costs a warning."""

import errno

import pytest
from helpers import faults, runs


def config_with(folder, backend, **settings):
    config = folder / 'mine.py'
    backends = [dict(type='LocalVisBackend'), dict(type=backend, **settings)]
    config.write_text(
        f'_base_ = {str(runs.AEMIM)!r}\n'
        f'visualizer = dict(_delete_=True, type="UniversalVisualizer", vis_backends={backends!r})\n'
        'custom_hooks = [dict(type="PanelHook", num_images=1)]\n'
    )
    return config


def train(folder, backend, **settings):
    runs.train(config_with(folder, backend, **settings), folder / 'work')
    return folder / 'work'


def files(work_dir):
    return [str(path.relative_to(work_dir)) for path in work_dir.rglob('*') if path.is_file()]


@pytest.mark.parametrize(
    ('backend', 'package', 'settings', 'trace'),
    [
        ('TensorboardVisBackend', 'tensorboard', {}, 'events.out.tfevents'),
        ('WandbVisBackend', 'wandb', dict(init_kwargs=dict(mode='offline')), 'media/images/panels'),
        ('MLflowVisBackend', 'mlflow', {}, 'artifacts/panels_1.png'),
    ],
)
def test_scalars_and_panels_reach_each_backend(backend, package, settings, trace, tmp_path):
    """In a process of its own, because these backends leave threads behind."""
    pytest.importorskip(package)
    config = config_with(tmp_path, backend, **settings)
    environment = dict(WANDB_DIR=str(tmp_path), MLFLOW_ALLOW_FILE_STORE='true')
    options = (*runs.SHRUNK, 'train_cfg.max_epochs=1')
    training = faults.Training(tmp_path / 'work', config=config, options=options, **environment)
    assert training.wait() == 0, training.output()
    assert any(trace in name for name in files(tmp_path)), files(tmp_path)
    assert 'failed (' not in training.output() and (tmp_path / 'work/epoch_1.pth').is_file()


def test_a_backend_that_fails_costs_a_warning(tmp_path, monkeypatch):
    from mmengine.visualization import TensorboardVisBackend

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    for name in ('add_scalars', 'add_image'):
        monkeypatch.setattr(TensorboardVisBackend, name, full)
    work_dir = train(tmp_path, 'TensorboardVisBackend')
    log = runs.log_of(work_dir)
    assert log.count('TensorboardVisBackend.add_scalars failed (OSError: [Errno 28]') == 1
    assert log.count('TensorboardVisBackend.add_image failed') == 1
    assert (work_dir / 'epoch_1.pth').is_file() and len(runs.scalars(work_dir)) == 4


def test_a_backend_that_cannot_start_is_one_clear_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__('sys').modules, 'mlflow', None)
    with pytest.raises(SystemExit) as end:
        train(tmp_path, 'MLflowVisBackend')
    error = capsys.readouterr().err
    assert end.value.code == 2 and 'visualizer.vis_backends has a wrong value: ImportError: Please run "pip' in error
