"""tools/analysis_tools/report.py on real trainings: one resumed, one of MAE, one with validation."""

import statistics

import pytest
from helpers import pages, runs

from aemim_mm.report.record import code_version

TOOL = 'analysis_tools/report.py'
PANELS = "custom_hooks=[dict(type='PanelHook', num_images=2)]"
CLASSIFIER = (
    'train_dataloader.dataset.limit=100',
    'val_dataloader.dataset.limit=50',
    'train_cfg.val_interval=1',
    'model.backbone.arch.num_layers=1',
)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Three work directories."""
    folder = tmp_path_factory.mktemp('trainings')
    runs.train(runs.AEMIM, folder / 'aemim', options=[PANELS], epochs=2)
    runs.train(runs.AEMIM, folder / 'aemim', '--resume', options=[PANELS], epochs=3)
    runs.train(runs.MAE, folder / 'mae', options=['default_hooks.logger.interval=3', 'train_dataloader.batch_size=8'])
    config = runs.CONFIGS / 'demo/vit-tiny-scratch_16e_fashion-mnist.py'
    runs.train(config, folder / 'tuned', shrunk=CLASSIFIER, epochs=2)
    return folder


@pytest.fixture(scope='module')
def page(trained, tmp_path_factory):
    """The report on them."""
    path = tmp_path_factory.mktemp('report') / 'all.html'
    runs.run(TOOL, *(trained / name for name in ('aemim', 'mae')), f'fine-tuned={trained}/tuned', '--out', path)
    return pages.parse(path.read_text(encoding='utf-8'))


def cells(page, title):
    """Return the table with this heading as a dict of dicts, without the mark of the best."""
    header, *lines = pages.tables(page)[title]
    return {line[0]: dict(zip(header[1:], (cell.removesuffix(' (best)') for cell in line[1:]))) for line in lines}


def test_the_runs_are_those_of_the_logs(trained, page):
    found = cells(page, 'Runs')
    assert list(found) == ['aemim', 'mae', 'fine-tuned']
    assert [run['reached'] for run in found.values()] == ['3 of 3 epochs', '1 of 1 epochs', '2 of 2 epochs']
    for name, folder in (('aemim', 'aemim'), ('mae', 'mae'), ('fine-tuned', 'tuned')):
        rows, run = runs.scalars(trained / folder), found[name]
        assert (run['state'], run['seed']) == ('finished', '0')
        assert float(run['loss']) == pytest.approx(rows[-1]['loss'], rel=1e-3)
        seconds = statistics.median(row['time'] for row in rows)
        assert float(run['s an iteration']) == pytest.approx(seconds, rel=1e-3)
        batch = {'aemim': 16, 'mae': 8, 'tuned': 50}[folder]
        assert float(run['images/s'].replace(',', '')) == pytest.approx(batch / seconds, rel=2e-3)
        assert run['versions'].startswith(f'{code_version()}, torch 2.')
        assert run['last line'] == runs.log_of(trained / folder).splitlines()[-1][:19]
    assert found['aemim']['config'] == runs.AEMIM.stem and found['mae']['accuracy/top1, last'] == '–'
    assert f'accuracy/top1: {float(found["fine-tuned"]["accuracy/top1, last"]):.4f}' in runs.log_of(trained / 'tuned')


def test_a_resumed_training_is_one_curve_over_epochs(trained, page):
    chart = next(each for each in page.find('section') if each.find('h2') and each.find('h2')[0].text == 'loss_clean')
    (drawing,) = (svg for svg in chart.find('svg') if 'role' in svg.attrs)
    rows = runs.scalars(trained / 'aemim')
    assert len(rows) == 12 and len(drawing.find('circle', 'dot')) == 12
    shown = [circle.find('title')[0].text for circle in drawing.find('circle', 'hit')]
    assert {f'aemim: {row["loss_clean"]:.4g} at epoch {row["iter"] / 4:.4g}' for row in rows} == set(shown)


def test_what_was_compared_and_warned(trained, page):
    fields = cells(page, 'What was compared')
    assert fields['model.type'] == {'aemim': 'AEMIM', 'mae': 'MAE', 'fine-tuned': 'ImageClassifier'}
    assert fields['train_dataloader.batch_size'] == {'aemim': '16', 'mae': '8', 'fine-tuned': '50'}
    assert 'work_dir' not in fields and 'default_scope' not in fields
    warnings = [line[-1] for line in pages.tables(page)['Warnings'][1:] if line[0] == 'mae']
    logged = [line for line in runs.log_of(trained / 'mae').splitlines() if ' - WARNING - ' in line]
    texts = [line.split(' - WARNING - ')[1].strip() for line in reversed(logged)]
    assert texts and [text for text in texts if 'is skipped since' not in text] == [
        text for text in warnings if not text.startswith('A parameter is skipped since')
    ]


def test_panels_of_the_latest_epoch(page):
    (section,) = page.find('section', 'panel-section')
    assert section.find('h2')[0].text == 'Reconstructions: aemim'
    assert section.find('figcaption')[0].text == 'after epoch 3'


def test_the_default_is_a_file_in_the_first_work_directory(trained, capsys):
    runs.run(TOOL, trained / 'mae', trained / 'aemim')
    path = trained / 'mae/report.html'
    assert capsys.readouterr().out.strip() == str(path)
    command = pages.parse(path.read_text(encoding='utf-8')).find('code')[0].text
    assert command == f'python tools/{TOOL} {trained}/mae {trained}/aemim'


def test_bad_input_is_one_line(trained, tmp_path, capsys):
    for argv, message in {
        (tmp_path / 'gone',): f'There is no folder {tmp_path}/gone.',
        (tmp_path,): f'{tmp_path} has no logs of a training',
        (trained / 'mae', f'mae={trained}/aemim'): 'Two runs are called mae. Tell them apart with LABEL=DIR.',
        (trained / 'mae', '--out', tmp_path): f'{tmp_path} could not be saved: Is a directory.',
    }.items():
        with pytest.raises(SystemExit) as end:
            runs.run(TOOL, *argv)
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.startswith(f'error: {message}') and error.count('\n') == 1
