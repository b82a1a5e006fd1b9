"""Restarts, signals and killed processes under tools/torchrun.py, with small programs instead of a training."""

import os
import signal
import sys
from unittest import mock

import pytest
from helpers import faults, runs

RANK_1_IS_KILLED = """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
print('not stopped')
"""
RANK_1_FAILS = """
if rank == 1:
    print('error: rank 1: its own line', flush=True)
    sys.exit(2)
time.sleep(60)
"""
KILLED_ONCE = """
print('attempt', os.environ['TORCHELASTIC_RESTART_COUNT'], flush=True)
if rank == 1 and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0 if os.environ['TORCHELASTIC_RESTART_COUNT'] == '1' else 60)
"""
SAVES = """
def save(*_):
    open(os.environ['AEMIM_SAVED_FILE'], 'w')
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print('ready', rank, flush=True)
time.sleep(60)
"""
DOES_NOT_SAVE = "print('ready', rank, flush=True); time.sleep(60)"


def _torchrun(*argv):
    with mock.patch.object(sys, 'argv', ['torchrun.py', *argv]):
        sys.exit(runs.tool('torchrun.py').main())


@pytest.fixture
def torchrun(tmp_path):
    """Start a program on two processes."""

    def torchrun(program, *flags):
        file = tmp_path / 'program.py'
        file.write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{program}")
        # By default, torch 2.1 checks its processes every five seconds.
        argv = ('--standalone', '--nproc_per_node=2', '--monitor-interval=0.2', *flags, str(file))
        return faults.Process(tmp_path / 'output.txt', _torchrun, *argv)

    return torchrun


def test_a_killed_process_ends_the_others_with_one_line(torchrun):
    job = torchrun(RANK_1_IS_KILLED)
    assert job.wait() == 1
    assert job.output().splitlines()[-1].startswith('error: rank 1 was killed by SIGKILL, and the other processes were')
    assert 'Traceback' not in job.output() and 'not stopped' not in job.output()


def test_a_process_that_failed_has_said_why_and_its_code_comes_through(torchrun):
    job = torchrun(RANK_1_FAILS)
    assert job.wait() == 2 and job.output().count('error: rank') == 1


def test_a_restart_is_counted(torchrun):
    job = torchrun(KILLED_ONCE, '--max-restarts=1')
    assert job.wait() == 0, job.output()
    attempts = [line.split()[1] for line in job.output().splitlines() if line.startswith('attempt')]
    assert attempts == ['0', '0', '1', '1']


@pytest.mark.parametrize(('program', 'code'), [(SAVES, 75), (DOES_NOT_SAVE, 128 + signal.SIGTERM)])
def test_a_job_that_is_told_to_stop(torchrun, program, code):
    job = torchrun(program).until('ready 0').until('ready 1')
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() == code, job.output()
