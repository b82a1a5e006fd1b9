"""tools/robustness.py on a small classifier of the embedded images."""

import csv
import json

import pytest
from helpers import runs

from aemim_mm.robustness.models_under_test import parse_model

CONFIG = runs.CONFIGS / 'demo/vit-tiny-scratch_16e_fashion-mnist.py'
NETWORK = (
    'model.backbone.arch.num_layers=1',
    'model.backbone.arch.embed_dims=48',
    'model.backbone.arch.num_heads=2',
    'model.backbone.arch.feedforward_channels=96',
    'model.neck.input_features=48',
    'model.head.in_channels=48',
)
SHRUNK = (
    *NETWORK,
    'train_dataloader.dataset.limit=500',
    'train_cfg.max_epochs=4',
    'train_cfg.val_interval=4',
    'default_hooks.checkpoint.interval=4',
)
MODEL = ('--cfg-options', *NETWORK)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('classifier')
    runs.train(CONFIG, work_dir, shrunk=SHRUNK, epochs=None)
    return work_dir / 'epoch_4.pth'


def measure(checkpoint, out, *argv, options=()):
    runs.run('robustness.py', CONFIG, checkpoint, '--out', out, *argv, *MODEL, *options)
    return json.loads((out / 'results.json').read_text())


def test_clean_accuracy_is_that_of_the_test(checkpoint, tmp_path):
    work_dir = tmp_path / 'test'
    runs.test(CONFIG, checkpoint, work_dir, options=NETWORK)
    (tested,) = [json.loads(line) for file in work_dir.glob('*/*.json') for line in file.read_text().splitlines()]
    entry = measure(f'small={checkpoint}', tmp_path / 'out')['results']['small']['clean']
    assert entry['accuracy'] == pytest.approx(tested['accuracy/top1'], abs=1e-3)
    assert entry['count'] == 2000 and entry['low'] < entry['accuracy'] < entry['high']


@pytest.mark.slow
def test_attacks_side_by_side_and_again(checkpoint, tmp_path, capsys):
    flags = ('--suite', 'white-box', '--limit', 20, '--compare', f'same={checkpoint}')
    first = measure(f'small={checkpoint}', tmp_path, *flags)
    small = {name: entry['accuracy'] for name, entry in first['results']['small'].items()}
    assert len(small) == 16 and small['pgd/8'] <= small['pgd/1'] <= small['clean'] and small['pgd/8'] < small['clean']
    assert all(small[f'margin/{eps}'] <= small['clean'] for eps in (1, 2, 4, 8))
    assert all(entry['estimate'] == 0 for entry in first['differences']['same'].values())
    assert all(check['passed'] for check in first['checks']['small']), first['checks']['small']
    assert {path.name for path in tmp_path.glob('*.svg')} >= {'fgsm.svg', 'pgd-20.svg'}
    assert 'PGD-20' in (tmp_path / 'report.html').read_text()
    rows = list(csv.reader((tmp_path / 'results.csv').read_text().splitlines()))
    assert rows[0] == ['part', 'small', 'same'] and len(rows) == 17
    assert 'small: ok     eps 0 equals clean accuracy' in capsys.readouterr().out

    # What is finished is not done again; a part that is lost or of other settings is.
    parts = sorted((tmp_path / 'parts/small').glob('*.json'))
    times = {path: path.stat().st_mtime_ns for path in parts}
    parts[0].unlink()
    parts[1].write_text(parts[1].read_text()[:50])
    again = measure(f'small={checkpoint}', tmp_path, *flags, '--no-checks')
    assert again['results'] == first['results']
    changed = [path for path in parts if path.stat().st_mtime_ns != times[path]]
    assert changed == parts[:2]


@pytest.mark.slow
def test_corruptions_and_missing_data(checkpoint, tmp_path, capsys):
    pytest.importorskip('imagecorruptions')
    with pytest.raises(SystemExit) as end:
        measure(checkpoint, tmp_path, '--suite', 'corruptions', 'shift', '--limit', 10, '--shift-root', tmp_path)
    content = json.loads((tmp_path / 'results.json').read_text())
    assert end.value.code == 2
    assert set(content['missing']) == {
        'imagenet-v2',
        'imagenet-real',
        'imagenet-a',
        'imagenet-r',
        'imagenet-sketch',
        'imagenet-stylized',
        'objectnet',
    }
    assert all(str(tmp_path / name) in reason for name, reason in content['missing'].items())
    (label,) = content['results']
    assert len(content['results'][label]) == 1 + 15 * 5
    errors = [100 - entry['accuracy'] for name, entry in content['results'][label].items() if name != 'clean']
    assert content['summary'][label]['mean_corruption_error'] == pytest.approx(sum(errors) / len(errors))
    assert 'skipped imagenet-a' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('argv', 'options', 'message'),
    [
        (['--suite', 'unknown'], (), 'suite'),
        (['--suite', 'corruptions', 'imagenet-c'], (), 'Measure them in separate runs'),
        (['--out', '/dev/null/results'], (), 'Cannot write to /dev/null/results: Not a directory'),
        (['--limit', '0'], (), '--limit is a number of images, at least 1, but got 0'),
        (
            [],
            ('model.head.num_classes=7', 'data_preprocessor.num_classes=7'),
            'tells 7 classes apart, but the test data',
        ),
    ],
)
def test_bad_input(checkpoint, tmp_path, capsys, argv, options, message):
    with pytest.raises(SystemExit) as end:
        measure(checkpoint, tmp_path, *argv, options=options)
    assert end.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.glob('parts/*/*.json'))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a/b/epoch_4.pth', ('b-epoch_4', 'c.py', 'a/b/epoch_4.pth')),
        ('ours=d.pth', ('ours', 'c.py', 'd.pth')),
        ('runs/lr=1e-3/x.pth', ('lr_1e-3-x', 'c.py', 'runs/lr=1e-3/x.pth')),
        ('https://host/x.pth?a=b', ('host-x', 'c.py', 'https://host/x.pth?a=b')),
        ('ours=https://host/x.pth?a=b', ('ours', 'c.py', 'https://host/x.pth?a=b')),
        ('ours=other/d.py:runs/lr=1/x.pth', ('ours', 'other/d.py', 'runs/lr=1/x.pth')),
        ('other/d.py:https://host/b/x.pth', ('b-x', 'other/d.py', 'https://host/b/x.pth')),
        ('runs/x.pth#model_ema', ('runs-x-model_ema', 'c.py', 'runs/x.pth#model_ema')),
        ('d.py:runs/lr=1/x.pth', ('lr_1-x', 'd.py', 'runs/lr=1/x.pth')),
    ],
)
def test_how_models_are_named(text, expected):
    assert parse_model(text, 'c.py') == expected


def test_a_file_whose_name_contains_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'lr=1.pth').touch()
    assert parse_model('lr=1.pth', 'c.py') == ('lr_1', 'c.py', 'lr=1.pth')
