"""The page on trainings side by side: tables, charts and notes say what the work directories hold."""

import cv2
import numpy as np
import pytest
from helpers.logged import row, validation, write_start
from helpers.pages import tables

from aemim_mm.report.charts import MAX_POINTS
from aemim_mm.report.comparison import MOST_WARNINGS, write_comparison
from aemim_mm.report.config_differences import ABSENT, differences
from aemim_mm.report.runs import read_runs

CONFIG = (
    'train_cfg = dict(max_epochs=4)\ntrain_dataloader = dict(batch_size={batch})\nwork_dir = {batch}\nmodel = {model}'
)
ENVIRONMENT = 'INFO - \n    PyTorch: 2.1.2\n    seed: 7\n    GPU number: 2'


@pytest.fixture
def page(tmp_path, parse):
    """Return a function from work directories to the page on them, and its text."""

    def page(*texts, running=()):
        runs = read_runs([str(text) for text in texts], lambda folder: folder.name in running)
        path = write_comparison(runs, tmp_path / 'report.html', 'python report.py a')
        return parse(path.read_text(encoding='utf-8'))

    return page


def detection(folder, scale=1.0, batch=2, model='dict(a=1, b=(1, 2))'):
    """Write a work directory like one of mmdet: two epochs of ten iterations, and a validation after each."""
    rows = []
    for epoch in (1, 2):
        rows += [row(10 * (epoch - 1) + i, epoch, loss_bbox=scale * i, base_lr=0.1, memory=1234) for i in (5, 10)]
        rows.append(validation(epoch, coco__bbox_mAP=scale * (0.3 - 0.1 * epoch), coco__segm_mAP=0.1 * epoch))
    log = [ENVIRONMENT, 'INFO - Epoch(train)  [1][10/10]  loss: 1.0']
    return write_start(folder, *rows, log=log, config=CONFIG.format(batch=batch, model=model))


def charts(page):
    """Return the title of each chart, and what it says to readers of screens."""
    sections = page.find('section', 'chart-section')
    return {
        section.find('h2')[0].text: [svg.attrs['aria-label'] for svg in section.find('svg') if 'role' in svg.attrs]
        for section in sections
    }


def test_the_table_of_runs(tmp_path, page):
    detection(tmp_path / 'a')
    detection(tmp_path / 'b', scale=0.5, batch=8)
    header, *rows = tables(page(tmp_path / 'a', f'half={tmp_path}/b', running=['b']))['Runs']
    assert [dict(zip(header, line)) for line in rows] == [
        {
            'run': 'a' if share == 1 else 'half',
            'config': 'net',
            'state': 'stopped' if share == 1 else 'running',
            'reached': '2 of 4 epochs',
            'last line': '2026/01/01 00:00:00',
            'loss': '0.05',
            'coco/bbox_mAP, last': f'{share * 0.1:.4g}' + (' (best)' if share == 1 else ''),
            'coco/bbox_mAP, best': f'{share * 0.2:.4g} (epoch 1)' + (' (best)' if share == 1 else ''),
            's an iteration': '0.5',
            # Two processes.
            'images/s': '8' if share == 1 else '32',
            'memory, MB': '1,234',
            'seed': '7',
            'versions': 'torch 2.1.2',
        }
        for share in (1, 0.5)
    ]


def test_all_losses_and_validation_figures(tmp_path, page):
    write_start(tmp_path / 'mae', row(5, 1), config=CONFIG.format(batch=1, model={}))
    _, *rows = tables(page(detection(tmp_path / 'det'), tmp_path / 'mae'))['Losses and validation']
    assert rows == [
        ['loss, last', '0.05', '0.2'],
        ['loss_bbox, last', '10', '–'],
        ['coco/bbox_mAP, last', '0.1', '–'],
        ['coco/bbox_mAP, best', '0.2 (epoch 1)', '–'],
        ['coco/segm_mAP, last', '0.2', '–'],
        ['coco/segm_mAP, best', '0.2 (epoch 2)', '–'],
    ]


def test_the_lowest_loss_is_the_best(tmp_path, page):
    rows = [
        row(1),
        validation(1, val_loss=3.0),
        row(2),
        validation(2, val_loss=float('nan')),
        validation(2, val_loss=4.0),
    ]
    write_start(tmp_path / 'a', *rows, config='train_cfg = dict(max_iters=2000)')
    found = tables(page(tmp_path / 'a'))
    assert dict(map(tuple, found['Losses and validation']))['val/val_loss, best'] == '3 (iteration 1)'
    assert found['Runs'][1][found['Runs'][0].index('reached')] == '2 of 2,000 iterations'


def test_charts_have_a_curve_for_each_run_over_epochs(tmp_path, page):
    """Epochs of 10 and of 40 iterations come together; without epochs in one of the logs, iterations do."""
    detection(tmp_path / 'a')
    rows = [row(40, 1, attack_gain=9.0), {'instruments/knn': 0.5, 'step': 1}, row(80, 2, attack_gain=5.0)]
    write_start(tmp_path / 'b', *rows, config=CONFIG.format(batch=1, model={}))
    found = charts(page(tmp_path / 'a', tmp_path / 'b'))
    assert list(found) == [
        'loss',
        'loss_bbox',
        'attack_gain',
        'lr',
        'coco/bbox_mAP',
        'coco/segm_mAP',
        'instruments/knn',
    ]
    assert found['loss'] == ['Line chart of loss against epoch. a: 0.2 to 0.05; b: 0.025 to 0.0125.']
    assert found['instruments/knn'] == ['Line chart of knn against epoch. b: 0.5.']
    write_start(tmp_path / 'c', row(7), config='train_cfg = dict(max_iters=9)')
    found = charts(page(tmp_path / 'a', tmp_path / 'b', tmp_path / 'c'))
    assert found['loss'] == ['Line chart of loss against iteration. a: 0.2 to 0.05; b: 0.025 to 0.0125; c: 0.1429.']


def test_a_long_training_is_thinned_and_the_page_says_so(tmp_path, page):
    rows = [row(i, 1 + i // 1000) for i in range(1, 2 * MAX_POINTS)]
    rows[700]['loss'] = 99.0
    write_start(tmp_path / 'a', *rows)
    found = page(tmp_path / 'a')
    (line,) = found.find('svg')[0].find('polyline')
    assert len(line.attrs['points'].split()) < MAX_POINTS and 'are thinned' in found.find('ul', 'summary')[0].text
    # The peak is the highest point.
    assert '(log scale)' in found.find('svg')[0].text
    assert 'thinned' not in page(detection(tmp_path / 'b')).text


def test_what_was_compared(tmp_path, page):
    texts = [
        detection(tmp_path / 'a', model="dict(a=1, b=(1, 2), neck=dict(type='Long', text='" + 'x' * 300 + "'))"),
        detection(tmp_path / 'b', model='dict(a=2, b=[1, 2])'),
    ]
    header, *rows = tables(page(*texts))['What was compared']
    assert header == ['field', 'a', 'b'] and rows[0] == ['model.a', '1', '2']
    ((name, long, absent),) = rows[1:]
    assert (name, absent) == ('model.neck', '–')
    assert long.startswith("{'type': 'Long', 'text': 'xxx") and len(long) == 160 and long.endswith('x…')
    assert tables(page(texts[0], f'same={texts[0]}'))['What was compared'] == [['configs of the runs'], ['equal']]
    assert 'What was compared' not in tables(page(texts[0]))


def test_differences_of_nested_configs():
    first = {'a': {'x': 1, 'y': [{'k': 1}, {'k': 2}]}, 'gone': {'u': 1}, 'list': [1], 'same': (1, {'z': (2,)})}
    second = {'a': {'x': 1, 'y': [{'k': 1}, {'k': 3}]}, 'list': [1, 2], 'same': [1, {'z': [2]}]}
    third = {'a': None, 'gone': {'u': 2}, 'list': [1], 'same': [1, {'z': [2]}]}
    assert dict(differences([first, second])) == {
        'a.y.1.k': [2, 3],
        'gone': [{'u': 1}, ABSENT],
        'list': [[1], [1, 2]],
    }
    assert dict(differences([first, second, third])) == {
        'a': [first['a'], second['a'], None],
        'gone.u': [1, ABSENT, 2],
        'list': [[1], [1, 2], [1]],
    }
    assert list(differences([first, first])) == []


def test_warnings_and_their_limit(tmp_path, page):
    log = [f'WARNING - number {number}' for number in range(MOST_WARNINGS + 2)]
    write_start(tmp_path / 'a', row(1, 1), log=[*log, 'ERROR - <b>', 'ERROR - <b>'])
    _, *rows = tables(page(tmp_path / 'a'))['Warnings']
    assert rows[0] == ['a', 'ERROR', '2', '<b>'] and rows[1] == ['a', 'WARNING', '1', f'number {MOST_WARNINGS + 1}']
    assert len(rows) == MOST_WARNINGS + 1 and rows[-1][-1] == f'3 earlier ones are in {tmp_path}/a/20260101_000000'


def test_a_run_that_has_logged_nothing_yet(tmp_path, page):
    write_start(tmp_path / 'a', log=['INFO - begin'])
    found = page(tmp_path / 'a', running=['a'])
    notes = [item.text for item in found.find('ul', 'summary')[0].find('li')]
    assert notes[0].startswith('a has logged no figure.') and notes[1].startswith('a has no config that can be read')
    assert tables(found)['Runs'][1][:3] == ['a', 'running', '0 epochs'] and not charts(found)


def test_panels_stand_in_their_own_width(tmp_path, page):
    folder = write_start(tmp_path / 'a', row(1, 1)) / '20260101_000000/vis_data/vis_image'
    folder.mkdir()
    cv2.imwrite(str(folder / 'panels_3.png'), np.full((90, 700, 3), 7, np.uint8))
    (section,) = page(tmp_path / 'a').find('section', 'panel-section')
    (image,) = section.find('div', 'single')[0].find('img')
    assert image.attrs['width'] == '700' and section.find('figcaption')[0].text == 'after epoch 3'
