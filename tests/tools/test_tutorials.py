"""The code and the commands of the tutorials run, in their order, in a fresh folder, at small size."""

import os
import re
import shlex
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from helpers import runs
from mmpretrain.registry import DATASETS, MODELS

DOCS = runs.REPO / 'docs'
pytestmark = pytest.mark.slow
PAGES = {path.stem: path for path in (*DOCS.glob('tutorials/*.md'), DOCS / 'extend.md')}
BLOCK = re.compile(r'^```(bash|python)\n(.*?)^```', re.MULTILINE | re.DOTALL)
SMALL = ['model.backbone.arch.num_layers=1', 'train_cfg.max_epochs=1', 'default_hooks.checkpoint.interval=1']
SHRUNK = {
    'own_images': {
        'tools/train.py': [*SMALL, 'train_dataloader.dataset.indices=100', 'default_hooks.logger.interval=1'],
        'tools/visualization/reconstructions.py': SMALL[:1],
    },
    'add_a_method': {'tools/train.py': [*SMALL, 'train_dataloader.dataset.limit=250']},
    'extend': {'tools/train.py': SMALL},
    'is_it_robust': {
        'tools/train.py': [*SMALL[:2], 'default_hooks.checkpoint.interval=1', 'train_dataloader.dataset.limit=50'],
        'tools/robustness.py': SMALL[:1],
    },
}
# Flags that come last, so that they win.
FLAGS = {'tools/robustness.py': ['--limit', '8', '--only', 'pgd/2', 'fog/1', '--no-checks']}
MADE = {
    'own_images': [
        'report.html',
        *(f'{name}.png' for name in ('panels', 'neighbours', 'views', 'landscape')),
        *('features.npz', 'aemim.safetensors', 'aemim.onnx'),
    ],
    'add_a_method': ['work_dirs/my_config/epoch_1.pth'],
    'extend': ['work_dirs/my_config/epoch_1.pth'],
    'is_it_robust': ['robustness/report.html'],
}


def run_command(line, shrunk):
    """Run a command of a page in this process, where the stack is imported already."""
    words = shlex.split(line)
    while '=' in words[0]:
        name, _, value = words.pop(0).partition('=')
        assert (name, value) == ('PYTHONPATH', '.')
        sys.path.insert(0, os.getcwd())
    python, tool, *argv = words
    assert python == 'python' and '--cfg-options' not in argv, line
    argv += FLAGS.get(tool, [])
    argv += (
        ['--cfg-options', f'experiment_name={Path.cwd().name}-{hash(line)}', *shrunk[tool]] if tool in shrunk else []
    )
    sys.path.insert(0, str((runs.REPO / tool).parent))  # Tools import others that lie beside them.
    runs.run(tool.removeprefix('tools/'), *argv)


@pytest.mark.parametrize('name', sorted(PAGES))
def test_the_tutorial_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('configs', 'tools'):
        (tmp_path / folder).symlink_to(runs.REPO / folder)
    text = re.sub(r'epoch_\d+', 'epoch_1', PAGES[name].read_text(encoding='utf-8'))
    np.save('images.npy', np.random.default_rng(0).integers(0, 256, (50, 70, 80, 3), dtype=np.uint8))
    blocks = BLOCK.findall(text)
    assert blocks
    registered = mock.patch.dict(MODELS.module_dict), mock.patch.dict(DATASETS.module_dict)
    with mock.patch.object(sys, 'path', [*sys.path]), registered[0], registered[1]:
        for kind, content in blocks:
            if kind == 'bash':
                for line in filter(None, re.sub(r'\\\n *', '', content).splitlines()):
                    run_command(line, SHRUNK[name])
            elif file := re.match(r'# (\w+\.py)(, continued)?\n', content):
                with open(file[1], 'a' if file[2] else 'w') as stream:
                    stream.write(content)
            else:
                exec(content, {})
    for module in tmp_path.glob('*.py'):
        sys.modules.pop(module.stem, None)
    missing = [path for path in MADE[name] if not (tmp_path / path).is_file()]
    assert not missing
