"""Skipped images are counted over all ranks, logged once, and listed in a file."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import processes
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image

from aemim_mm.datasets import UnlabelledFolder
from aemim_mm.engine.hooks.unreadable import FILE, UnreadableImagesHook, skipping_datasets

BAD = {1: 'truncated', 2: 'random', 3: 'empty', 7: 'truncated', 8: 'random', 9: 'empty', 11: 'empty'}
PIPELINE = [{'type': 'LoadWholeImage'}, {'type': 'PackInputs'}]


@pytest.fixture
def folder(tmp_path):
    """A folder of twelve images, seven of them unreadable."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in range(12):
        path = tmp_path / f'images/{i:02d}.jpg'
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
        content = path.read_bytes()
        path.write_bytes({'truncated': content[:-300], 'random': rng.bytes(300), 'empty': b''}.get(BAD.get(i), content))
    return tmp_path / 'images'


class OneLayer(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.sizes = []

    def forward(self, inputs, data_samples, mode):
        self.sizes.append(len(inputs))
        return {'loss': self.linear(torch.stack(inputs).float().mean((2, 3))).square().mean()}


def run(folder, work_dir, *, dataset=None, loop=None, workers=0):
    """Train; return the model and the lines of the log about unreadable images."""
    dataset = dataset or {'type': 'UnlabelledFolder', 'data_root': str(folder), 'pipeline': PIPELINE}
    runner = Runner(
        OneLayer(),
        str(work_dir),
        train_dataloader={
            'batch_size': 4,
            'num_workers': workers,
            'dataset': dataset,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        train_cfg=loop or {'by_epoch': True, 'max_epochs': 3},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-9}},
        default_hooks={'checkpoint': None},
        custom_hooks=[{'type': 'UnreadableImagesHook'}],
        default_scope='mmpretrain',
        randomness={'seed': 0},
        experiment_name=work_dir.name,
    )
    runner.train()
    (log,) = work_dir.glob('*/*.log')
    return runner.model, [line for line in log.read_text().splitlines() if 'unreadable' in line and 'Skipped' in line]


def paths(folder, indices=BAD):
    return [str(folder / f'{i:02d}.jpg') for i in indices]


@pytest.mark.parametrize('workers', [0, 2])
def test_epochs_log_once_and_list_all(folder, tmp_path, workers):
    model, lines = run(folder, tmp_path / f'epochs{workers}', workers=workers)
    assert model.sizes == [4] * 9
    (line,) = lines
    file = tmp_path / f'epochs{workers}' / FILE
    assert 'WARNING' in line and 'Skipped 7 unreadable or truncated of 12 images so far' in line
    assert line.endswith(f'{", ".join(paths(folder)[:5])} and 2 more. All: {file}')
    assert file.read_text().splitlines() == paths(folder)


def test_training_by_iterations_logs_at_the_end(folder, tmp_path):
    loop = {'by_epoch': False, 'max_iters': 2, 'val_interval': 100}
    _, (line,) = run(folder, tmp_path / 'iterations', loop=loop)
    # Two iterations load the images 0 to 7, and replacements of 1, 2, 3 and 7, which may be unreadable, too.
    found = (tmp_path / 'iterations' / FILE).read_text().splitlines()
    assert f'Skipped {len(found)} ' in line
    assert set(paths(folder, [1, 2, 3, 7])) <= set(found) <= set(paths(folder))


def test_nothing_is_said_when_all_is_well(folder, tmp_path):
    for path in paths(folder):
        os.remove(path)
    _, lines = run(folder, tmp_path / 'well')
    assert not lines and not (tmp_path / 'well' / FILE).exists()


def test_wrapped_data_sets_are_found(folder, tmp_path):
    inner = {'type': 'UnlabelledFolder', 'data_root': str(folder), 'pipeline': PIPELINE}
    wrapped = {'type': 'RepeatDataset', 'times': 2, 'dataset': {'type': 'ConcatDataset', 'datasets': [inner]}}
    model, (line,) = run(folder, tmp_path / 'wrapped', dataset=wrapped)
    assert len(model.sizes) == 18 and 'Skipped 7 ' in line


def test_other_data_sets_are_passed_over(folder):
    a, b = UnlabelledFolder(str(folder)), UnlabelledFolder(str(folder))
    other = torch.utils.data.TensorDataset(torch.zeros(2))
    assert list(skipping_datasets(other)) == []
    assert list(skipping_datasets(ConcatDataset([a, b]))) == [a, b]
    assert list(skipping_datasets(RepeatDataset(a, 2))) == [a]
    assert list(skipping_datasets(torch.utils.data.Subset(a, [0]))) == [a]


def fake_runner(dataset, work_dir):
    return SimpleNamespace(train_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)), work_dir=work_dir)


def test_growing_number_is_logged_again_and_odd_names_pass(folder):
    odd = os.fsdecode(b'\xff.jpg')
    (folder / odd).write_bytes(b'')
    dataset, hook = UnlabelledFolder(str(folder)), UnreadableImagesHook()
    reports = []
    hook._report, report = lambda *args: (reports.append(len(args[0])), report(*args)), hook._report
    runner = fake_runner(dataset, str(folder))
    for marked in ([], [1], [1], [12, 1]):
        dataset.bad[marked] = 1
        hook.after_train_epoch(runner)
    assert reports == [1, 2]
    assert (folder / FILE).read_bytes() == os.fsencode(f'{folder}/01.jpg\n{folder}/{odd}\n')


def _rank(rank, folder, work_dir):
    dataset = UnlabelledFolder(folder)
    dataset.bad[[1, 7] if rank else [3, 7]] = 1
    UnreadableImagesHook().after_train_epoch(fake_runner(dataset, f'{work_dir}{rank}'))
    Path(f'{work_dir}{rank}', 'bad').write_bytes(bytes(dataset.bad.tolist()))


def test_two_ranks_tell_each_other(folder, tmp_path):
    for rank in range(2):
        (tmp_path / f'rank{rank}').mkdir()
    processes.on_ranks(_rank, str(folder), f'{tmp_path}/rank')
    for rank in range(2):
        assert np.flatnonzero(list((tmp_path / f'rank{rank}/bad').read_bytes())).tolist() == [1, 3, 7]
    assert (tmp_path / 'rank0' / FILE).read_text().splitlines() == paths(folder, [1, 3, 7])
    assert not (tmp_path / 'rank1' / FILE).exists()
