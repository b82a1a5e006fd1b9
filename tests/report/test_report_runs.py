"""Where a training is, in which state, and what it logged: of work directories written by hand."""

import os
import time

import cv2
import numpy as np
import pytest
from helpers.logged import row, validation, write_start

from aemim_mm.errors import UserError
from aemim_mm.report.panels import latest_panel
from aemim_mm.report.runs import RECENT, read_runs

EPOCHS, ITERATIONS = 'train_cfg = dict(max_epochs=3)', 'train_cfg = dict(max_iters=100)'


def read(folder, in_use=False):
    (run,) = read_runs([str(folder)], lambda folder: in_use)
    return run


def places(run, kind, name):
    return [(point.iteration, point.epoch, point.value) for point in run.figures[kind, name]]


def test_places_in_epochs_whose_length_the_log_tells(tmp_path):
    """The last row of each epoch is from iteration 20 of 32; a hook logs by epoch, another by iteration."""
    rows = [row(20, 1), validation(1, accuracy__top1=10.0), row(52, 2), {'instruments/rank': 3.0, 'step': 60}]
    log = ['INFO - Epoch(train)  [1][20/32]  loss: 1.0']
    run = read(write_start(tmp_path, *rows, validation(2, accuracy__top1=20.0), log=log, config=EPOCHS))
    assert places(run, 'loss', 'loss') == [(20, 20 / 32, 1 / 20), (52, 52 / 32, 1 / 52)]
    assert places(run, 'validation', 'accuracy/top1') == [(32, 1, 10.0), (64, 2, 20.0)]
    assert places(run, 'instruments', 'instruments/rank') == [(60, 60 / 32, 3.0)]
    assert (run.reached, run.limit, run.unit, run.name) == (2, 3, 'epochs', 'net')


def test_places_without_a_text_log_and_after_another_batch_size(tmp_path):
    write_start(tmp_path, row(10, 1), row(20, 1), row(40, 2), config=EPOCHS)
    # Epochs of 5 iterations: the third ends at 45.
    run = read(write_start(tmp_path, row(45, 3), start='20260102_000000'))
    assert [epoch for _, epoch, _ in places(run, 'loss', 'loss')] == [0.5, 1, 2, 2.25]


def test_places_of_a_training_that_counts_iterations(tmp_path):
    """mmengine numbers its validations by an epoch, which stays 0, or by the iteration."""
    rows = [row(50, 1), validation(0, coco__bbox_mAP=0.1), row(90, 1), validation(95, coco__bbox_mAP=0.2)]
    run = read(write_start(tmp_path, *rows, config=ITERATIONS))
    assert places(run, 'validation', 'coco/bbox_mAP') == [(50, None, 0.1), (95, None, 0.2)]
    assert (run.reached, run.limit, run.unit) == (95, 100, 'iterations')


def test_kinds_of_figures(tmp_path):
    """As mmdet, mmpretrain and this project log; ``log_with_hierarchy`` puts the mode in front."""
    first = row(1, 1, base_lr=0.3, attack_gain=2.0, loss_clean=1.0, grad_norm=4.0, memory=900, d0={'a': 1})
    second = {'train/loss': 5.0, 'train/time': 0.7, 'train/lr': 0.2, 'epoch': 1, 'iter': 2, 'step': 2}
    tested = {'val/loss': 3.0, 'coco/bbox_mAP_copypaste': '0.1 0.2', **validation(1, coco__bbox_mAP=0.1)}
    run = read(write_start(tmp_path, first, second, tested, config=EPOCHS))
    assert {name: [point.value for point in points] for name, points in run.figures.items()} == {
        ('loss', 'loss'): [1.0, 5.0],
        ('rate', 'lr'): [0.3, 0.2],
        ('attack', 'attack_gain'): [2.0],
        ('loss', 'loss_clean'): [1.0],
        ('other', 'grad_norm'): [4.0],
        ('validation', 'val/loss'): [3.0],
        ('validation', 'coco/bbox_mAP'): [0.1],
    }
    assert run.seconds == pytest.approx(0.6) and run.memory == 900


SAVED = ['INFO - Saving checkpoint at 3 epochs']
LAST = [row(20, 1), row(52, 2), row(84, 3)]
LENGTH = ['INFO - Epoch(train)  [1][20/32]  loss: 1.0']


@pytest.mark.parametrize(
    ('rows', 'log', 'config', 'state'),
    [
        (LAST, LENGTH + SAVED, EPOCHS, 'finished'),
        (LAST, LENGTH, EPOCHS, 'stopped'),
        (LAST[:2], LENGTH + SAVED, EPOCHS, 'stopped'),  # A new start after a finished one.
        ([*LAST, validation(3, a=1.0)], LENGTH, EPOCHS, 'finished'),
        (LAST, LENGTH, '', 'stopped'),  # Nothing tells its length.
        ([], SAVED, EPOCHS, 'finished'),  # It logs its figures elsewhere.
        ([row(90)], ['INFO - Saving checkpoint at 100 iterations'], ITERATIONS, 'finished'),
        ([row(90)], ['INFO - Saving checkpoint at 90 iterations'], ITERATIONS, 'stopped'),
        ([row(100)], [], ITERATIONS, 'finished'),
        ([row(100)], [], EPOCHS, 'stopped'),  # Its rows tell iterations only.
    ],
)
def test_states(tmp_path, rows, log, config, state):
    write_start(tmp_path, *rows, log=log or LENGTH, config=config)
    assert read(tmp_path).state == state
    assert read(tmp_path, in_use=True).state == 'running'


@pytest.mark.parametrize(('age', 'state'), [(RECENT / 2, 'running'), (RECENT * 2, 'stopped')])
def test_without_locks_the_time_of_the_log_tells_whether_it_runs(tmp_path, age, state):
    write_start(tmp_path, *LAST[:2], config=EPOCHS)
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    os.utime(file, (time.time() - age, time.time() - age))
    assert read(tmp_path, in_use=None).state == state


def test_the_text_log_of_a_test_and_of_an_earlier_start(tmp_path):
    """tools/test.py writes to the same folder. Facts of the earlier start hold, its warnings do not."""
    log = [*LENGTH, 'WARNING - old']
    write_start(tmp_path, *LAST, start='1', log=log, config=f'{EPOCHS}\ntrain_dataloader = dict(batch_size=8)')
    write_start(tmp_path, start='2', log=['INFO - a\n    GPU number: 4', 'ERROR - new'])
    write_start(tmp_path, start='3', log=['WARNING - of a test', 'INFO - Epoch(test) [8/8]'])
    run = read(tmp_path)
    assert run.log.warnings == {('ERROR', 'new'): 1} and run.reached == 84 / 32
    assert [part.name for part in run.parts] == ['1', '2'] and run.images == 32


def test_a_config_that_cannot_be_read_gives_way_to_an_earlier_one(tmp_path):
    write_start(tmp_path, row(1, 1), start='1', config=EPOCHS)
    write_start(tmp_path, row(2, 1), start='2', config='train_cfg = dict(')
    assert read(tmp_path).limit == 3
    write_start(tmp_path / 'other', row(1, 1), config='raise SystemError')
    assert read(tmp_path / 'other').config == {}


def test_the_latest_whole_panel(tmp_path):
    folders = [tmp_path / name for name in ('1', '2')]
    assert latest_panel(folders) is None
    shades = {'1/panels_9': 10, '2/panels_2': 20, '2/panels_10': 30, '2/panels_x': 40, '2/other_11': 50}
    for name, shade in shades.items():
        path = tmp_path / name.replace('/', '/vis_data/vis_image/')
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f'{path}.png', np.full((40, 30, 3), (shade, 0, 0), np.uint8))
    epoch, picture = latest_panel(folders)
    assert epoch == 10 and picture.shape == (40, 30, 3) and (picture == (0, 0, 30)).all()
    last = tmp_path / '2/vis_data/vis_image/panels_10.png'
    whole = last.read_bytes()
    for length in range(0, len(whole), 7):
        last.write_bytes(whole[:length])
        found, again = latest_panel(folders)
        # Without its last bytes, the file still has all pixels.
        assert found == 2 or (length > 100 and np.array_equal(again, picture)), length


def test_labels(tmp_path):
    for name in ('a', 'b', 'x=y'):
        write_start(tmp_path / name, row(1, 1))
    texts = [f'{tmp_path}/a/', f'other={tmp_path}/a', f'{tmp_path}/b', f'{tmp_path}/x=y']
    assert [run.label for run in read_runs(texts, lambda folder: False)] == ['a', 'other', 'b', 'x=y']


def test_wrong_folders(tmp_path, monkeypatch):
    write_start(tmp_path / 'dirs/a', row(1, 1))
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').touch()
    for text, message in {
        f'{tmp_path}/gone': f'There is no folder {tmp_path}/gone. Name the work directory of a training',
        f'x={tmp_path}/file': f'There is no folder {tmp_path}/file',
        f'{tmp_path}/empty': f'{tmp_path}/empty has no logs of a training, such as TIME/vis_data/scalars.json.$',
        f'{tmp_path}/dirs': f'dirs has no logs .* Name one of the work directories in it: {tmp_path}/dirs/a.',
    }.items():
        with pytest.raises(UserError, match=message):
            read_runs([text], lambda folder: False)
    texts = [f'{tmp_path}/dirs/a', f'a={tmp_path}/dirs/a']
    with pytest.raises(UserError, match='Two runs are called a. Tell them apart with LABEL=DIR'):
        read_runs(texts, lambda folder: False)

    def denied(folder):
        raise PermissionError(13, 'Permission denied')

    with pytest.raises(UserError, match=f'The logs in {tmp_path}/dirs/a cannot be read: .*Permission denied'):
        read_runs(texts[:1], denied)
