"""The first picture of the README: the photographs stand in it, and a second run only draws."""

from types import SimpleNamespace

import numpy as np
import skimage.data
from helpers import runs
from PIL import Image


def test_photographs_are_trained_on_once_and_drawn(tmp_path, monkeypatch):
    module, pictures = runs.tool('visualization/photograph_panels.py'), []
    # In this process, where the stack is imported already.
    run = SimpleNamespace(run=lambda command, check: runs.run('train.py', *command[2:]))
    monkeypatch.setattr(module, 'subprocess', run)
    for number in range(2):
        options = ['train_cfg.max_iters=2', 'train_dataloader.batch_size=2', f'experiment_name=photographs{number}']
        picture = tmp_path / f'{number}.png'
        argv = ['--work-dir', tmp_path / 'work', '--picture', picture, '--cfg-options', *options]
        monkeypatch.setattr('sys.argv', ['photograph_panels.py', *map(str, argv)])
        module.main()
        pictures.append(np.array(Image.open(picture)))
    np.testing.assert_array_equal(*pictures)
    assert [row['step'] for row in runs.scalars(tmp_path / 'work')] == [2], 'trained once'
    for number, name in enumerate(module.PHOTOGRAPHS):
        whole = getattr(skimage.data, name)()
        side = min(whole.shape[:2])
        top, left = ((length - side) // 2 for length in whole.shape[:2])
        square = Image.fromarray(whole[top : top + side, left : left + side])
        expected = np.asarray(square.resize((112, 112), Image.Resampling.BICUBIC), int)
        drawn = pictures[0][24 + number * 118 :][:112, :112].astype(int)
        assert np.abs(drawn - expected).max() <= 1, name
