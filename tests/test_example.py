"""``examples/aemim_in_one_file.py``: equal to the package's AEMIM, and it trains."""

import importlib.util
import re
import sys

import pytest
import skimage.data
import torch
from helpers import runs, tiny
from helpers.encoders import assert_close
from PIL import Image

SCRIPT = runs.REPO / 'examples/aemim_in_one_file.py'
ARCH = (32, 2, 2), (32, 1, 2)
# Names in the example, and in the package.
RENAMED = (
    (r'^patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^encoder\.2\.', 'backbone.ln1.'),
    (r'^encoder\.', 'backbone.layers.'),
    (r'^cls_token\.clean', 'backbone.cls_token'),
    (r'^cls_token\.adv', 'backbone.cls_token_adv'),
    (r'^positions', 'backbone.pos_embed'),
    (r'^decoder\.1\.', 'neck.ln1.'),
    (r'^decoder\.', 'neck.decoder_blocks.'),
    (r'^(mask_token|decoder_embed)', r'neck.\1'),
    (r'^decoder_positions', 'neck.decoder_pos_embed'),
    (r'^predict\.', 'neck.decoder_pred.'),
    (r'\.norm(\d)\.', r'.ln\1.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
    (r'\.clean\.', '.'),
    (r'\.adv\.(.+)$', r'.\1_adv'),
)


def load():
    spec = importlib.util.spec_from_file_location('aemim_in_one_file', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load()


def package_name(name):
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


@pytest.fixture(scope='module')
def results():
    """Losses, adversarial images and gradients by the example, and by the package with the same weights and seed."""
    expected = tiny.build(tiny.aemim())
    tiny.part_domains(expected)
    model = example.AdversarialMAE(32, 8, *ARCH, mlp_ratio=2.0)
    weights = expected.state_dict()
    for name, value in model.state_dict().items():
        if 'positions' not in name:
            value.copy_(weights.pop(package_name(name)))
    assert {name for name in weights if 'pos_embed' not in name} == set()

    perturb, seen = expected.data_preprocessor.perturb, []
    expected.data_preprocessor.perturb = lambda *a, **b: seen.append(perturb(*a, **b)) or seen[0]
    torch.manual_seed(0)
    expected_losses = expected.loss(tiny.images(expected), None)
    (expected_losses['loss_clean'] + expected_losses['loss_adv']).backward()
    torch.manual_seed(0)
    losses = example.aemim_loss(model, tiny.pixels() / 255)
    (losses[0] + losses[1]).backward()
    return model, losses, expected, (expected_losses['loss_clean'], expected_losses['loss_adv'], *seen)


def test_losses_and_images_equal_the_package(results):
    model, (*losses, x_adv), _, (*expected_losses, expected_x_adv) = results
    assert_close(losses, expected_losses)
    assert_close(model.normalize(x_adv), expected_x_adv)


def test_gradients_equal_the_package(results):
    model, _, expected, _ = results
    gradients = {name: parameter.grad for name, parameter in expected.named_parameters()}
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, gradients.pop(package_name(name)))
    assert set(gradients) == {'backbone.pos_embed', 'neck.decoder_pos_embed'}  # fixed


def test_positions_equal_the_package(results):
    model, _, expected, _ = results
    assert_close(model.positions, expected.backbone.pos_embed[0, 1:])
    assert_close(model.decoder_positions, expected.neck.decoder_pos_embed[0, 1:])


def test_both_domains_start_equal():
    model = example.AdversarialMAE(16, 8, (16, 1, 2), (16, 1, 2))
    state = model.state_dict()
    names = [name for name in state if 'adv' in name.split('.')]
    assert len(names) == 1 + 2 * 3 + 2
    for name in names:
        assert torch.equal(state[name], state[name.replace('adv', 'clean')])


@pytest.fixture
def folder(tmp_path):
    """Six photographs of several sizes, some of them in a folder below."""
    (tmp_path / 'images/below').mkdir(parents=True)
    for number, name in enumerate(('astronaut', 'chelsea', 'coffee', 'rocket', 'camera', 'coins')):
        image = Image.fromarray(getattr(skimage.data, name)()).resize((60 + 4 * number, 50))
        image.save(tmp_path / ('images' if number % 2 else 'images/below') / f'{name}.{("png", "JPG")[number // 3]}')
    return tmp_path / 'images'


def run(folder, monkeypatch, *argv):
    monkeypatch.setitem(example.ARCHS, 'tiny', ARCH)
    torch.manual_seed(0)
    return example.main([str(folder), '--arch', 'tiny', '--image-size', '32', '--patch-size', '8', *argv])


def test_it_trains_on_a_folder_of_images(folder, monkeypatch, capsys):
    out = folder / 'weights.pth'
    history = run(folder, monkeypatch, '--epochs', '12', '--batch-size', '4', '--lr', '3e-3', '--out', str(out))
    assert len(history) == 12
    for first, last in zip(history[0], history[-1]):
        assert last < 0.9 * first
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == 'epoch 12/12  loss_clean {:.4f}  loss_adv {:.4f}'.format(*history[-1])
    assert set(torch.load(out)) == set(example.AdversarialMAE(32, 8, *ARCH).state_dict())


def test_one_clear_error_for_bad_input(folder, tmp_path, monkeypatch):
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts/notes.txt').touch()
    for empty in ('texts', 'absent'):
        with pytest.raises(SystemExit, match='^error: .*' + empty + ' holds no image. Expected .*.jpeg, .jpg'):
            run(tmp_path / empty, monkeypatch)
    with pytest.raises(SystemExit, match='^error: image size 30 is no multiple of patch size 8'):
        run(folder, monkeypatch, '--image-size', '30')


def test_it_needs_no_openmmlab():
    imported = set(re.findall(r'^\s*(?:import|from) (\w+)', SCRIPT.read_text(), re.MULTILINE))
    assert imported - sys.stdlib_module_names == {'PIL', 'timm', 'torch', 'torchvision'}
