"""A data loader's worker ignores SIGTERM, except from the training process."""

import multiprocessing
import os
import signal

import pytest
from helpers import processes


def started(method):
    context = multiprocessing.get_context(method)
    ready = context.Event()
    worker = context.Process(target=processes.work, args=(ready,), daemon=True)
    worker.start()
    assert ready.wait(60)
    return worker


@pytest.mark.parametrize('method', ['fork', 'forkserver'])
def test_only_the_training_process_can_end_its_workers(method):
    """Under ``forkserver``, the default from Python 3.14 on, the worker's parent in the system is the fork server."""
    worker = started(method)
    # The shell is another process than this one.
    os.system(f'kill -TERM {worker.pid}')
    worker.join(0.2)
    assert worker.is_alive()
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0


def test_a_worker_ends_where_the_system_does_not_tell_who_sent_a_signal(monkeypatch):
    """As on macOS, which has no ``sigwaitinfo``."""
    monkeypatch.delattr(signal, 'sigwaitinfo')
    worker = started('fork')
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == -signal.SIGTERM
