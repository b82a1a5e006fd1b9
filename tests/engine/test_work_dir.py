"""A work directory belongs to one training at a time, and can be written to."""

import os
import subprocess
import sys
from unittest import mock

import pytest
from helpers import runs

from aemim_mm.engine import work_dir
from aemim_mm.engine.work_dir import held, in_use, usable
from aemim_mm.errors import UserError

# Another process, which holds a lock until its input ends.
HOLDER = """
import fcntl, sys
stream = open(sys.argv[1], 'a+')
fcntl.lockf(stream, fcntl.LOCK_EX)
stream.write('pid 7 on node-3 since noon')
stream.flush()
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that trains in the folder."""
    command = [sys.executable, '-c', HOLDER, str(tmp_path / '.lock')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'held\n'
        yield process
        process.kill()


def test_a_second_training_is_refused_before_any_work(other, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(work_dir, 'PATIENCE', 0.1)
    (tmp_path / 'epoch_3.pth.part').touch()  # the other one is saving
    with pytest.raises(SystemExit) as end:
        runs.train(runs.AEMIM, tmp_path)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count('\n') == 1
    assert f'Another training uses the work dir {tmp_path} (pid 7 on node-3 since noon). Wait for its end, or' in error
    assert sorted(os.listdir(tmp_path)) == ['.lock', 'epoch_3.pth.part']


def test_a_job_waits_for_the_one_before_it_and_a_crash_frees_the_folder(other, tmp_path, monkeypatch):
    monkeypatch.setattr(work_dir.time, 'sleep', lambda seconds: (other.kill(), other.wait()))
    with held(str(tmp_path)):
        assert f'pid {os.getpid()} on ' in (tmp_path / '.lock').read_text()


def test_another_process_can_see_whether_a_training_goes_on(other, tmp_path, monkeypatch):
    assert in_use(tmp_path) is True
    other.kill()
    other.wait()
    assert in_use(tmp_path) is False
    assert in_use(tmp_path / 'no lock') is None
    refused = mock.Mock(side_effect=OSError(95, 'Operation not supported'))
    monkeypatch.setattr(work_dir.fcntl, 'lockf', refused)
    assert in_use(tmp_path) is None
    monkeypatch.setattr(work_dir, 'fcntl', None)
    assert in_use(tmp_path) is None


def test_other_ranks_leave_the_lock_to_the_first(other, tmp_path, monkeypatch):
    monkeypatch.setenv('SLURM_PROCID', '3')
    with held(str(tmp_path), 'slurm'):
        pass


@pytest.mark.parametrize('restarts', [0, 1])
def test_only_a_restart_knows_what_its_job_has_saved(tmp_path, restarts, monkeypatch):
    """Whatever started torchrun, and whichever node has the first rank."""
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', str(restarts))
    (tmp_path / work_dir.SAVED_BY_JOB).touch()
    with held(str(tmp_path)):
        assert (tmp_path / work_dir.SAVED_BY_JOB).exists() == bool(restarts)


def test_a_disk_without_locks_is_a_warning(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(work_dir.fcntl, 'lockf', unsupported)
    with held(str(tmp_path)):
        pass


@pytest.mark.parametrize('name', ['file', 'file/below', 'x' * 5000, '/proc/nowhere'])
def test_a_folder_that_cannot_be_made_is_one_clear_error(name, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='^Cannot write to .{1,300}: .*. Choose another folder.$'):
        usable(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_read_only_folder_is_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match='Permission denied'):
        usable(tmp_path)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_tools_say_so(tool, tmp_path, capsys):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as end:
        runs.train(runs.AEMIM, tmp_path / 'file') if tool == 'train' else runs.test(
            runs.CONFIGS / 'demo/vit-tiny_16e_fashion-mnist.py', 'x.pth', tmp_path / 'file'
        )
    assert end.value.code == 2 and 'Cannot write to' in capsys.readouterr().err
