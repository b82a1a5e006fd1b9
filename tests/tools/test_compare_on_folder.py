"""tools/compare_on_folder.py: trainings of a study, and a report of their differences."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import runs
from PIL import Image

from aemim_mm.report.record import read_record


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
    """Run the tool, and the study in this process, where the stack is imported already."""
    module = runs.tool('compare_on_folder.py')

    def run(command):
        runs.run('study.py', *command[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(module, 'subprocess', SimpleNamespace(run=run))
    monkeypatch.setattr('sys.argv', ['compare_on_folder.py', *map(str, argv)])
    module.main()


def test_the_comparison(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    argv = [folder, '--out', out, '--epochs', 2, '--tuning-epochs', 2, '--eps', 16, '--seeds', 2, '--lanes', 0]
    compare(monkeypatch, *argv)
    assert '3 classes; 27 images to pre-train on, 27 to fine-tune on, 9 for tests' in capsys.readouterr().out
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
