"""A missing target network is one line that says what it is and how to name a file; with the file, training runs."""

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from helpers import hosts, runs
from helpers.host_configs import CHANGES
from mmpretrain.registry import MODELS
from PIL import Image

pytestmark = [
    pytest.mark.filterwarnings('ignore:torch.meshgrid'),
    pytest.mark.filterwarnings('ignore:Detected call of `lr_scheduler.step'),
]
# Name of a config to the part of CHANGES, the option, and what the message has to name.
CASES = {
    'aebeit_beit-b_300e': ('beit_', 'init_cfg.checkpoint', ("DALL-E's encoder", 'github.com/openai/DALL-E')),
    'aemilan_vit-b_400e': ('milan_', 'tokenizer_path', ('CLIP', 'github.com/openai/CLIP')),
}


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    root = tmp_path_factory.mktemp('imagenet')
    (root / 'train/n01').mkdir(parents=True)
    (root / 'meta').mkdir()
    for number in range(4):
        coarse = np.random.default_rng(number).integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((270, 210)).save(root / f'train/n01/{number}.JPEG')
    (root / 'meta/train.txt').write_text(''.join(f'n01/{number}.JPEG 0\n' for number in range(4)))
    return root


def train(name, imagenet, work_dir, *options):
    """Train a config with a small encoder by ``tools/train.py``."""
    model = dict(CHANGES[CASES[name][0]])
    model['backbone'] = dict(model['backbone'], arch=dict(model['backbone']['arch'], _delete_=True))
    target = {key: value for key, value in model.get('target_generator', {}).items() if key != 'init_cfg'}
    config = work_dir / 'small.py'
    config.write_text(
        f'_base_ = {str(runs.CONFIGS / "hosts" / name)!r} + ".py"\nmodel = {dict(model, target_generator=target)!r}\n'
    )
    loader = [f'train_dataloader.{field}' for field in ('batch_size=2', 'num_workers=0', 'pin_memory=False')]
    epochs = ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']
    argv = ['--data-root', imagenet, '--work-dir', work_dir, '--cfg-options', runs._name(), *loader, *epochs, *options]
    runs.run('train.py', config, *argv)


@pytest.mark.parametrize('name', CASES)
def test_an_unreachable_target_network_is_one_line(name, imagenet, tmp_path, capsys, monkeypatch):
    def unreachable(url, *args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    with pytest.raises(SystemExit) as end:
        train(name, imagenet, tmp_path)
    check_message(end, capsys, name, 'cannot be downloaded (URLError: <urlopen error no network>)')


@pytest.mark.parametrize('name', CASES)
def test_a_missing_file_of_a_target_network_is_one_line(name, imagenet, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        train(name, imagenet, tmp_path, f'model.target_generator.{CASES[name][1]}=/nowhere/target.pth')
    check_message(end, capsys, name, 'There is no checkpoint /nowhere/target.pth.')


def check_message(end, capsys, name, problem):
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    _, option, names = CASES[name]
    assert end.value.code == 2 and problem in message
    assert all(part in message for part in names) and f'--cfg-options model.target_generator.{option}=FILE' in message


@pytest.mark.parametrize('name', CASES)
def test_a_local_file_is_loaded(name, imagenet, tmp_path):
    file = Path(hosts.write_clip(tmp_path / 'target.pth', features=512, size=224))
    if name.startswith('aebeit'):
        torch.manual_seed(0)
        torch.save(MODELS.build(dict(hosts.TOKENIZER)).state_dict(), file)
    train(name, imagenet, tmp_path, f'model.target_generator.{CASES[name][1]}={file}')
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    prefix = 'target_generator.' + ('' if name.startswith('aebeit') else 'tokenizer.')
    for key, value in torch.load(file, weights_only=True).items():
        assert torch.equal(saved[prefix + key], value), key
    assert all(np.isfinite(step['loss_adv']) for step in runs.scalars(tmp_path))
