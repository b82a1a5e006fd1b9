"""Checkpoints from URLs: each URL is downloaded once, and its hash is checked."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from aemim_mm.checkpoints.downloads import file_hash
from aemim_mm.checkpoints.reading import read_checkpoint
from aemim_mm.errors import UserError


def test_urls_are_downloaded_once(server):
    url, folder = server
    for name in ('a', 'b'):
        (folder / name).mkdir()
        save_file({name: torch.ones(1)}, folder / name / 'model.safetensors')
    # Two URLs with the same file name are two files.
    assert list(read_checkpoint(f'{url}/a/model.safetensors')) == ['a']
    assert list(read_checkpoint(f'{url}/b/model.safetensors')) == ['b']
    (folder / 'a/model.safetensors').unlink()
    assert list(read_checkpoint(f'{url}/a/model.safetensors')) == ['a']
    with pytest.raises(UserError, match='gone.pth cannot be downloaded .HTTPError: .*404'):
        read_checkpoint(f'{url}/gone.pth')


def test_the_hash_in_the_name_of_a_url_is_checked(server):
    url, folder = server
    torch.save(dict(weight=torch.ones(1)), folder / 'model.pth')
    right = file_hash(folder / 'model.pth')[:8]
    names = [f'{each}/model-{right}.pth' for each in 'ab'] + ['c/model-deadbeef.pth', 'd/model-20241231.pth']
    for number, name in enumerate(names):
        (folder / name).parent.mkdir()
        torch.save(dict(weight=torch.full((1,), float(number))), folder / name)
    shutil.copy(folder / 'model.pth', folder / names[0])
    assert read_checkpoint(f'{url}/{names[0]}')['weight'] == 1
    # Another URL of the same name is not taken for the first one.
    for name in names[1:3]:
        with pytest.raises(UserError, match='cannot be downloaded .RuntimeError: invalid hash value'):
            read_checkpoint(f'{url}/{name}')
    # Digits alone are a date.
    assert read_checkpoint(f'{url}/{names[3]}')['weight'] == 3


def test_a_file_of_another_program_is_taken_if_its_hash_is_right(server, tmp_path):
    url, folder = server
    torch.save(dict(weight=torch.ones(1)), folder / 'model.pth')
    name = f'model-{file_hash(folder / "model.pth")[:8]}.pth'
    there = tmp_path / 'hub/checkpoints' / name
    there.parent.mkdir(parents=True)
    (folder / 'model.pth').rename(there)
    assert read_checkpoint(f'{url}/{name}')['weight'] == 1
    torch.save(dict(weight=torch.zeros(1)), there)
    with pytest.raises(UserError, match='cannot be downloaded .HTTPError: .*404'):
        read_checkpoint(f'{url}/{name}')


def test_a_set_of_weights_of_a_url(server):
    url, folder = server
    torch.save(dict(student=dict(a=torch.ones(1)), teacher=dict(b=torch.ones(1))), folder / 'x.pth')
    assert list(read_checkpoint(f'{url}/x.pth#teacher')['state_dict']) == ['b']


def test_a_web_page_in_place_of_a_file(server):
    url, folder = server
    (folder / 'x.pth').write_text('<!DOCTYPE html><html>Log in</html>')
    with pytest.raises(UserError, match='x.pth is a web page. Download the file itself, and remove .*hub/checkpoints/'):
        read_checkpoint(f'{url}/x.pth')
