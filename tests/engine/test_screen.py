"""The lines about single parameters are in the log file only."""

from helpers import runs, tiny
from mmengine.logging import MMLogger

from aemim_mm.engine.screen import keep_parameter_lists_off_screen

INIT = 'Initialized by user-defined `init_weights`'
OPTIONS = 'paramwise_options -- '


def test_a_training_shows_no_line_for_each_parameter(tmp_path, capfd):
    runs.train(runs.AEMIM, tmp_path)
    screen, file = capfd.readouterr().out, runs.log_of(tmp_path)
    assert file.count(INIT) > 10 and file.count(OPTIONS) > 10
    assert INIT not in screen and OPTIONS not in screen
    # Other lines are on the screen and in the file.
    for line in ('System environment', 'Epoch(train)', 'Saving checkpoint at 1 epochs'):
        assert line in screen and line in file


def test_initialization_without_a_log_file_shows_no_line_for_each_parameter(capfd):
    logger = MMLogger.get_instance('screen', log_level='INFO')
    logger.info('before')
    tiny.build(tiny.aemim())
    assert INIT in capfd.readouterr().out
    keep_parameter_lists_off_screen(logger)
    tiny.build(tiny.aemim())
    logger.info('after')
    screen = capfd.readouterr().out
    assert INIT not in screen and 'after' in screen
