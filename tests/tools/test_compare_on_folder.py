"""tools/compare_on_folder.py: trainings of a study, and a report of their differences."""

import os
import re

import numpy as np
import pytest
from helpers import runs
from PIL import Image

from aemim_mm.datasets.labelled_folder import LabelledFolder
from aemim_mm.datasets.splits import split_folder
from aemim_mm.launch import load_config
from aemim_mm.report.record import read_record
from aemim_mm.robustness.suites import white_box
from aemim_mm.study.reading import read_study


@pytest.fixture
def folder(tmp_path):
    """Make twelve images of each of three colours."""
    generator = np.random.default_rng(0)
    for channel, name in enumerate(('red', 'green', 'blue')):
        (tmp_path / 'my, images' / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 100, (20, 24, 3))
            pixels[..., channel] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / 'my, images' / name / f'{number}.png')
    return tmp_path / 'my, images'


def compare(monkeypatch, *argv):
    """Run the tool; the runs of the study are in this process, where the stack is imported already."""
    monkeypatch.setattr('sys.argv', ['compare_on_folder.py', *map(str, argv), '--lanes', '0'])
    runs.tool('compare_on_folder.py').main()


@pytest.mark.slow
def test_the_comparison(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    small = ['--epochs', 2, '--tuning-epochs', 2, '--eps', 16, '--seeds', 2, '--labels', 3, '--no-attacks']
    argv = [folder, '--out', out, *small]
    compare(monkeypatch, *argv)
    assert '3 classes; 27 images to pre-train on, 9 to fine-tune on, 9 for tests' in capsys.readouterr().out
    names = [f'{method}-seed{seed}.json' for seed in (0, 1) for method in ('AEMIM-eps16', 'MAE', 'scratch')]
    assert sorted(path.name for path in (out / 'records').iterdir()) == sorted(names)
    records = {name: read_record(out / 'records' / name)['values'] for name in names}
    # From scratch, there is no pre-training.
    assert records['scratch-seed0.json']['last_logged']['lr'] == 0 < records['MAE-seed0.json']['last_logged']['lr']
    page = (out / 'report.html').read_text()
    tuned = {name: values['measures']['fine_tuned'] for name, values in records.items()}
    for method, other, baseline in (('MAE', 'scratch', 'training from scratch'), ('AEMIM-eps16', 'MAE', 'MAE')):
        mean = np.mean([tuned[f'{method}-seed{seed}.json'] - tuned[f'{other}-seed{seed}.json'] for seed in (0, 1)])
        assert f'{method} against {baseline}, fine-tuned: {mean:+.1f} points' in page
    assert 'on 9 images is up to 16.7 points' in page
    # The same command has nothing left to do.
    before = (out / 'records' / names[0]).stat().st_mtime
    compare(monkeypatch, *argv)
    assert '6 of 6 runs are done, 0 are left' in capsys.readouterr().out
    assert (out / 'records' / names[0]).stat().st_mtime == before


def test_the_attacks_are_of_the_suite():
    cfg = load_config(runs.CONFIGS / 'demo/vit-tiny_50e_folder.py')
    assert set(runs.tool('compare_on_folder.py').ATTACKS) <= {condition.name for condition in white_box(cfg)}


def hashes(monkeypatch, folder, out, *flags):
    """Write the study, and return method to hash, of which a run knows that it has to be done again."""
    monkeypatch.setattr('sys.argv', ['compare_on_folder.py', str(folder), '--out', str(out), *map(str, flags)])
    tool = runs.tool('compare_on_folder.py')
    tool.write_study(tool.parse_args())
    return {run.method: run.config_hash for run in read_study(out / 'study.py').runs()}


def test_other_images_are_other_runs(folder, tmp_path, monkeypatch, capsys):
    first = hashes(monkeypatch, folder, tmp_path / 'out', '--labels', 5)
    assert first == hashes(monkeypatch, folder, tmp_path / 'out', '--labels', 5)
    fewer = hashes(monkeypatch, folder, tmp_path / 'out', '--labels', 4)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / 'red/one more.png')
    (folder / 'red/broken.png').write_bytes(b'no image')
    more = hashes(monkeypatch, folder, tmp_path / 'out', '--labels', 5)
    assert all(len({first[method], fewer[method], more[method]}) == 3 for method in first)
    assert '1 files cannot be read, and are left out: red/broken.png' in capsys.readouterr().out


def test_names_of_any_kind(tmp_path):
    """A name that is no UTF-8, with a separator of lines other than the usual one, or with a line break."""
    pixels = Image.fromarray(np.zeros((9, 9, 3), np.uint8))
    for number in range(4):
        for name in ('a', 'b'):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels.save(tmp_path / name / f'{number}.png')
    for name in (b'caf\xe9.png', 'a\u2028b.png'.encode(), b'c\nd.png'):
        with open(os.path.join(os.fsencode(tmp_path), b'a', name), 'wb') as file:
            pixels.save(file, 'PNG')
    split = split_folder(tmp_path)
    assert split.unreadable == ['a/c\nd.png'] and len(split.unlabelled) + len(split.test) == 10
    listed = ''.join(f'{image.path} {image.label}\n' for image in split.unlabelled)
    (tmp_path / 'list.txt').write_bytes(os.fsencode(listed))
    dataset = LabelledFolder(data_root=str(tmp_path), ann_file='list.txt')
    assert len(dataset) == len(split.unlabelled)
    assert all(os.path.isfile(dataset.get_data_info(number)['img_path']) for number in range(len(dataset)))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--seeds', 1], '--seeds, --epochs and --tuning-epochs are 2 or more'),
        (['--test-share', 1], '--test-share between 0 and 1'),
        (['--eps', 2, 0], '--eps above 0 and up to 255'),
    ],
)
def test_wrong_flags(folder, monkeypatch, capsys, flags, message):
    with pytest.raises(SystemExit) as end:
        compare(monkeypatch, folder, *flags)
    assert end.value.code == 2 and re.search(message, capsys.readouterr().err)
