"""Check that false alarms of the mm* packages are dropped, and that all other messages come through."""

import logging
import warnings

import pytest
from mmengine.logging import MMLogger, print_log

from aemim_mm.quiet import FALSE_ALARMS, without_false_alarms

# Each differs from a false alarm in its end only.
OTHERS = [message.strip() + '!' for message in FALSE_ALARMS]


class ListHandler(logging.Handler):
    """Collect the messages of a logger."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@pytest.fixture
def logged():
    """A list of what mmengine's current logger shows."""
    logger, handler = MMLogger.get_current_instance(), ListHandler()
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)


def raise_all(messages):
    """Print, log and warn each message as the mm* packages do. Return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with without_false_alarms():
            for message in messages:
                print_log(message)
                MMLogger.get_current_instance().error(message)
                warnings.warn(message, stacklevel=1)
    return [str(warning.message) for warning in caught]


def test_false_alarms_are_dropped(logged, capsys):
    assert raise_all(FALSE_ALARMS) == logged == []
    assert capsys.readouterr() == ('', '')


def test_other_messages_come_through(logged, capsys):
    assert raise_all(OTHERS) == logged == OTHERS
    assert capsys.readouterr() == (''.join(f'{message}\n' for message in OTHERS), '')


def test_false_alarms_come_through_afterwards(logged, capsys):
    with pytest.raises(KeyError), without_false_alarms():
        raise KeyError
    print_log(FALSE_ALARMS[0])
    MMLogger.get_current_instance().error(FALSE_ALARMS[0])
    assert logged == [FALSE_ALARMS[0]] and capsys.readouterr() == (f'{FALSE_ALARMS[0]}\n', '')


def test_filters_that_a_package_sets_inside_stay():
    with warnings.catch_warnings():
        with without_false_alarms():
            warnings.filterwarnings('ignore', 'set inside')
        warnings.warn('set inside', stacklevel=1)
