"""Facts and warnings of mmengine's text logs."""

import logging

import pytest
from mmengine.logging import MMLogger

from aemim_mm.report.text_log import LONGEST, read_log

ENVIRONMENT = """
System environment:
    numpy_random_seed: 11
    PyTorch: 2.1.2
    MMEngine: 0.10.7

Runtime environment:
    seed: 7
    GPU number: 4"""


@pytest.fixture
def logger(tmp_path):
    """mmengine's own logger, which writes to a file in the folder."""
    logger = MMLogger(f'text_log_{tmp_path.name}', log_file=str(tmp_path / 'a.log'), log_level='INFO')
    logger.handlers[0].setLevel(logging.CRITICAL + 1)  # the screen
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_facts_are_the_last_ones(logger, tmp_path):
    logger.info(ENVIRONMENT)
    logger.info('aemim-mm 0.1.0, commit 2d3d893e85')
    logger.info('Config:\nseed: 8\nrandomness = dict(seed=9)')
    logger.info('Epoch(train)  [ 9][ 20/1250]  lr: 1.0000e-03  loss: 1.0')
    logger.info('Saving checkpoint at 9 epochs')
    logger.info('Epoch(train)  [10][ 20/1300]  lr: 1.0000e-03  loss: 1.0')
    logger.info('Saving checkpoint at 10 epochs')
    log = read_log(tmp_path)
    assert log.facts == {
        'seed': '7',
        'torch': '2.1.2',
        'mmengine': '0.10.7',
        'processes': '4',
        'aemim-mm': '0.1.0, commit 2d3d893e85',
        'iterations an epoch': '1300',
        'saved': '10 epochs',
    }
    assert log.warnings == {} and log.time == (tmp_path / 'a.log').read_text().splitlines()[-1][:19]
    logger.info('Epoch(test) [8/8]    accuracy/top1: 50.0')
    assert read_log(tmp_path).facts['test'] == 'Epoch(test)'


def test_warnings_are_counted_over_processes_and_the_latest_is_last(logger, tmp_path):
    logger.warning('first')
    logger.info('no warning: WARNING')
    logger.warning('several\n\nlines  of it')
    logger.error('x' * 1000)
    lines = (tmp_path / 'a.log').read_text()
    (tmp_path / 'b_rank1.log').write_text(lines.splitlines()[0] + '\n')
    log = read_log(tmp_path)
    second, third, first = log.warnings
    assert (second, first) == (('WARNING', 'several lines of it'), ('WARNING', 'first'))
    assert third[0] == 'ERROR' and len(third[1]) == LONGEST and third[1].endswith('x…')
    assert list(log.warnings.values()) == [1, 1, 2]


def test_a_log_that_is_being_written(tmp_path):
    (tmp_path / 'a.log').write_bytes(b'2026/01/01 00:00:00 - mmengine - WARNING - some\n2026/01/01 00:0\xff')
    log = read_log(tmp_path)
    assert list(log.warnings) == [('WARNING', 'some 2026/01/01 00:0\ufffd')] and log.time == '2026/01/01 00:00:00'
    assert read_log(tmp_path / 'none').time == ''


def test_frozen_parameters_are_one_warning(logger, tmp_path):
    for name in ('encoder.weight', 'encoder.bias'):
        logger.warning(f'{name} is skipped since its requires_grad=False')
    warnings = read_log(tmp_path).warnings
    assert warnings == {('WARNING', 'A parameter is skipped since its requires_grad=False'): 2}
