"""A missing target network is one line that says what it is and how to name a file; with the file, training runs."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from helpers import hosts, runs
from helpers.host_configs import shrink, write
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image

from aemim_mm.errors import UserError
from aemim_mm.launch.target_networks import target_network

pytestmark = [
    pytest.mark.filterwarnings('ignore:torch.meshgrid'),
    pytest.mark.filterwarnings('ignore:Detected call of `lr_scheduler.step'),
]
# Name of a config to the option of its target network, and what the message has to name.
CASES = {
    'aebeit_beit-b_300e': ('init_cfg.checkpoint', ("DALL-E's encoder", 'github.com/openai/DALL-E')),
    'aebeit-v2_beit-b_300e': ('init_cfg.checkpoint', ('VQ-KD', 'github.com/microsoft/unilm/tree/master/beit2')),
    'aecim_vit-b_300e': (
        'tokenizer.encoder.init_cfg.checkpoint',
        ("DALL-E's encoder", 'github.com/openai/DALL-E'),
    ),
    'aemilan_vit-b_400e': ('tokenizer_path', ('CLIP', 'github.com/openai/CLIP')),
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
    """Train a config under hosts/ with a small model by ``tools/train.py``."""
    config = write(f'{name}.py', work_dir / f'{name}.py')
    loader = [f'train_dataloader.{field}' for field in ('batch_size=2', 'num_workers=0', 'pin_memory=False')]
    every = [f'default_hooks.{hook}.interval=1' for hook in ('logger', 'checkpoint')]
    argv = ['--data-root', imagenet, '--work-dir', work_dir, '--cfg-options', runs._name(), *loader, *every]
    runs.run('train.py', config, *argv, 'train_cfg.max_epochs=1', *options)


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
        train(name, imagenet, tmp_path, f'model.target_generator.{CASES[name][0]}=/nowhere/target.pth')
    check_message(end, capsys, name, 'There is no checkpoint /nowhere/target.pth.')


def check_message(end, capsys, name, problem):
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    option, names = CASES[name]
    assert end.value.code == 2 and problem in message
    assert all(part in message for part in names) and f'--cfg-options model.target_generator.{option}=FILE' in message


def test_a_missing_decoder_is_named():
    cfg = Config.fromfile(runs.CONFIGS / 'hosts/aecim_vit-b_300e.py')
    message = (
        "DALL-E's decoder .* docs/baselines.md .* model.target_generator.tokenizer.decoder.init_cfg.checkpoint=FILE"
    )
    with pytest.raises(UserError, match=message), target_network(cfg):
        raise UserError('There is no checkpoint dalle_decoder.pth.')


@pytest.mark.slow
def test_both_files_of_a_tokenizer_are_loaded(imagenet, tmp_path):
    name = 'aecim_vit-b_300e'
    small = shrink(name, Config.fromfile(runs.CONFIGS / f'hosts/{name}.py').model)
    tokenizer, options = MODELS.build(small['target_generator']['tokenizer']), []
    for part in ('encoder', 'decoder'):
        torch.save(tokenizer.get_submodule(part).state_dict(), tmp_path / f'{part}.pth')
        options.append(f'model.target_generator.tokenizer.{part}.init_cfg.checkpoint={tmp_path / part}.pth')
    train(name, imagenet, tmp_path, *options)
    saved = runs.weights(tmp_path / 'epoch_1.pth')
    for key, value in tokenizer.state_dict().items():
        assert torch.equal(saved[f'target_generator.tokenizer.{key}'], value), key
    assert all(np.isfinite(step['loss_adv']) for step in runs.scalars(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CASES if 'cim' not in name])
def test_a_local_file_is_loaded(name, imagenet, tmp_path):
    file, part = tmp_path / 'target.pth', 'target_generator.'
    if 'milan' in name:
        hosts.write_clip(file, features=512, size=224)
        part += 'tokenizer.'
    else:
        small = shrink(name + '_', Config.fromfile(runs.CONFIGS / f'hosts/{name}.py').model)
        torch.save(MODELS.build(small['target_generator']).state_dict(), file)
    train(name, imagenet, tmp_path, f'model.target_generator.{CASES[name][0]}={file}')
    saved = runs.weights(tmp_path / 'epoch_1.pth')
    for key, value in torch.load(file, weights_only=True).items():
        if 'cluster_size' not in key:  # How often a code has been used.
            assert torch.equal(saved[part + key], value), key
    assert all(np.isfinite(step['loss_adv']) for step in runs.scalars(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'options'), [('aemim_hivit-b_800e', ['custom_hooks.0.interval=1']), ('aespark_sparse-resnet50_800e', [])]
)
def test_a_method_without_one_trains(name, options, imagenet, tmp_path):
    train(name, imagenet, tmp_path, *options)
    assert all(np.isfinite(step['loss_adv']) for step in runs.scalars(tmp_path))
    assert bool(list(tmp_path.rglob('*.png'))) == ('hivit' in name)
