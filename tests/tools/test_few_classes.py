"""tools/robustness.py on a classifier of two classes: AutoAttack runs, and says that it is not the standard version."""

import json
from inspect import signature

import pytest
import torch
from helpers import runs
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image

from aemim_mm.robustness import attacked_classifier
from aemim_mm.robustness.autoattack import AutoAttack, available

CONFIG = """
_base_ = {base!r}
model = dict(backbone=dict(arch=dict(num_layers=1, embed_dims=48, num_heads=2, feedforward_channels=96)),
             neck=dict(input_features=48), head=dict(in_channels=48, num_classes=2))
data_preprocessor = dict(num_classes=2)
test_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root={root!r},
    pipeline=[dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')]))
"""


@pytest.mark.skipif(not available(), reason='pyautoattack is not installed')
def test_two_classes(tmp_path, capsys, monkeypatch):
    for number in range(8):
        path = tmp_path / 'images' / ('cat', 'dog')[number % 2] / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (28, 28), 30 * number).save(path)
    base = runs.CONFIGS / 'demo/vit-tiny-scratch_16e_fashion-mnist.py'
    config = tmp_path / 'two.py'
    config.write_text(CONFIG.format(base=str(base), root=str(tmp_path / 'images')))
    cfg = Config.fromfile(config)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor, '_scope_': 'mmpretrain'})
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'two.pth')

    def fewer(**fields):
        return AutoAttack(**fields, steps=3, queries=5)

    fewer.__signature__ = signature(AutoAttack)
    monkeypatch.setitem(attacked_classifier.ATTACKS, 'autoattack', fewer)
    out = tmp_path / 'out'
    runs.run('robustness.py', config, f'x={tmp_path}/two.pth', '--suite', 'autoattack', '--no-checks', '--out', out)
    note = 'AutoAttack on 2 classes is not the standard version: it runs apgd-ce, fab-t, square, since apgd-t needs 4'
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'note: {note}') and any(line.startswith(note) for line in lines[-4:])
    content = json.loads((out / 'results.json').read_text())
    assert content['notes'] == dict.fromkeys(['autoattack/1', 'autoattack/4'], f'{note} classes.')
    assert content['results']['x']['autoattack/4']['accuracy'] <= content['results']['x']['clean']['accuracy']
    assert note in (out / 'report.html').read_text()
