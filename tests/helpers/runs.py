"""Run the command-line tools inside the test process, because a new process would import the stack for seconds."""

import importlib.util
import itertools
import json
import os
import sys
from pathlib import Path
from unittest import mock

import torch

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / 'configs'
AEMIM = CONFIGS / 'demo/aemim_vit-tiny_16e_fashion-mnist.py'
MAE = CONFIGS / 'demo/mae_vit-tiny_16e_fashion-mnist.py'
# A smaller network on 64 images: 4 iterations an epoch, each of a tenth of a second.
SHRUNK = (
    'train_dataloader.dataset.limit=64',
    'train_dataloader.batch_size=16',
    'model.backbone.arch.num_layers=2',
    'model.neck.decoder_depth=1',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1',
)
_numbers = itertools.count()


def tool(path: str):
    """Load a script below tools/ as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + '_tool', REPO / 'tools' / path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, 'path', [str((REPO / 'tools' / path).parent), *sys.path]):
        spec.loader.exec_module(module)  # It may import a file that lies beside it.
    return module


def run(path: str, *argv) -> None:
    """Call ``main`` of a script with these arguments. It raises SystemExit where the script would exit."""
    with mock.patch.dict(os.environ), mock.patch.object(sys, 'argv', [path, *map(str, argv)]):
        tool(path).main()


def train(config, work_dir, *argv, options=(), epochs=1, shrunk=SHRUNK) -> None:
    """Run ``tools/train.py``. ``argv`` are flags, and ``options`` follow ``--cfg-options``."""
    epochs = [] if epochs is None else [f'train_cfg.max_epochs={epochs}']
    run('train.py', config, '--work-dir', work_dir, *argv, '--cfg-options', _name(), *shrunk, *epochs, *options)


def test(config, checkpoint, work_dir, *argv, options=()) -> None:
    """Run ``tools/test.py``."""
    run('test.py', config, checkpoint, '--work-dir', work_dir, *argv, '--cfg-options', _name(), *options)


def _name() -> str:
    # mmengine looks up visualizer and message hub by the name of the experiment, by default a time in seconds.
    return f'experiment_name=run{next(_numbers)}'


def scalars(work_dir) -> list:
    """Return what the runs in a work directory logged, one dict for each iteration."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row for row in rows if 'loss' in row]


def log_of(work_dir) -> str:
    """Return the text of the log files in a work directory."""
    return ''.join(file.read_text() for file in sorted(Path(work_dir).glob('*/*.log')))


def weights(path) -> dict:
    """Return the weights in a checkpoint."""
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']
