"""Trainings that are killed, stopped or out of disk space end with the weights of an undisturbed run.

By default, processes are killed three times. For twenty times, and for whole jobs by dist_train.sh:
AEMIM_KILLS=20 python -m pytest tests/tools/test_faults.py
"""

import atexit
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from helpers import faults, runs

from aemim_mm.checkpoints.files import latest_intact

KILLS = int(os.environ.get('AEMIM_KILLS', 3))
WORKERS = 'train_dataloader.num_workers=2'
EACH_ITERATION = ('default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=1')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """The work directory of a run of three epochs, and its training time in seconds."""
    training = faults.Training(tmp_path_factory.mktemp('undisturbed')).until(faults.TRAINS)
    begin = time.monotonic()
    assert training.wait() == 0, training.output()
    return training.work_dir, time.monotonic() - begin


@pytest.fixture(scope='module')
def two_undisturbed(tmp_path_factory):
    """The last checkpoint of a run on two processes."""
    work_dir = tmp_path_factory.mktemp('two')
    for process in faults.two_processes(work_dir):
        assert process.wait() == 0, process.output()
    return work_dir / 'epoch_3.pth'


def test_killed_at_random_moments_and_resumed_it_ends_the_same(undisturbed, tmp_path):
    """Repeat until a run has been killed often enough. Compare each run that reaches its end."""
    work_dir, duration = undisturbed
    seed = int(os.environ.get('AEMIM_SEED', 0))
    chance, kills, compared = random.Random(seed), 0, 0
    while kills < KILLS or not compared:
        # Each resumption may change the number of workers and the interval of checkpoints.
        options = [*(EACH_ITERATION if kills % 2 else ()), *([WORKERS] if chance.random() < 0.5 else ())]
        training = faults.Training(tmp_path / 'work', '--resume', options=options)
        if kills < KILLS:
            training.until(faults.TRAINS)
            time.sleep(chance.uniform(0, 0.9) * duration)
            training.process.kill()
        code = training.wait()
        assert code in (0, -signal.SIGKILL), training.output()
        kills += code != 0
        if code == 0:
            faults.assert_same_training(latest_intact(str(tmp_path / 'work')), work_dir / 'epoch_3.pth')
            shutil.rmtree(tmp_path / 'work')
            compared += 1
    print(f'{kills} kills, {compared} runs to the end, all equal to the undisturbed one (seed {seed})')


def test_a_damaged_latest_checkpoint_gives_way_to_the_one_before(undisturbed, tmp_path):
    work = copied(undisturbed, tmp_path, latest=3)
    os.truncate(work / 'epoch_3.pth', 1000)
    faults.train(work, '--resume')
    log = runs.log_of(work)
    assert f'WARNING - The checkpoint {work}/epoch_3.pth is truncated or corrupt: it does not match ' in log
    assert f'Going on from the one before, {work}/epoch_2.pth' in log
    faults.assert_same_training(work / 'epoch_3.pth', undisturbed[0] / 'epoch_3.pth')


def copied(undisturbed, tmp_path, latest):
    """Copy the undisturbed work directory in its state after ``latest`` epochs."""
    work = tmp_path / 'work'
    shutil.copytree(undisturbed[0], work, ignore=shutil.ignore_patterns('2*', '*.txt'))
    for epoch in range(latest + 1, faults.EPOCHS + 1):
        for path in work.glob(f'epoch_{epoch}.pth*'):
            path.unlink()
    (work / 'last_checkpoint').write_text(str(work / f'epoch_{latest}.pth'))
    return work


@contextmanager
def small_disk(folder, megabytes):
    """Mount a small tmpfs; yield a function that enlarges it."""
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, timeout=10).returncode != 0:
        pytest.skip('mounting a tmpfs needs root')
    try:
        yield lambda: subprocess.run(['mount', '-o', 'remount,size=200m', folder], check=True, timeout=10)
    finally:
        subprocess.run(['umount', '-l', folder], check=True, timeout=10)


def check_is_left(training, epoch, reason):
    """Assert that the error names the file and the space, and that the checkpoint before it is whole and the latest."""
    work = training.work_dir
    message = training.output().splitlines()[-1]
    assert message.startswith(f'error: {work}/epoch_{epoch + 1}.pth could not be saved: {reason}. It needs ')
    assert 'MB are free' in message and message.endswith('go on with --resume.')
    assert sorted(path.name for path in work.glob('*.pth*')) == [f'epoch_{epoch}.pth', f'epoch_{epoch}.pth.sha256']
    assert latest_intact(str(work)) == f'{work}/epoch_{epoch}.pth'


def test_a_full_disk_is_an_error_that_leaves_what_was_there(undisturbed, tmp_path):
    size = (undisturbed[0] / 'epoch_3.pth').stat().st_size / 1e6
    with small_disk(tmp_path / 'disk', int(size * 1.5)) as enlarge:
        training = faults.Training(tmp_path / 'disk/work')
        assert training.wait() == 2, training.output()
        check_is_left(training, 1, 'No space left on device')
        enlarge()
        faults.train(training.work_dir, '--resume')
        faults.assert_same_training(training.work_dir / 'epoch_3.pth', undisturbed[0] / 'epoch_3.pth')


def test_a_disk_that_fails_while_writing_is_the_same_error(undisturbed, tmp_path):
    """The system limits the size of files. This needs no root."""
    training = faults.Training(copied(undisturbed, tmp_path, latest=2), '--resume', FILE_SIZE='1000000')
    assert training.wait() == 2, training.output()
    check_is_left(training, 2, 'File too large')


def test_sigterm_saves_and_exits_with_75_and_resumes_the_same(undisturbed, tmp_path):
    """A cluster sends SIGTERM to the workers, too."""
    training = faults.Training(tmp_path / 'work', options=[WORKERS]).until('Epoch(train) [2][1/4]')
    workers = faults.children(training.process.pid)
    assert len(workers) == 2
    for process in [*workers, training.process.pid]:
        os.kill(process, signal.SIGTERM)
    assert training.wait() == 75, training.output()
    (saved,) = (tmp_path / 'work').glob('iter_*.pth')
    assert (tmp_path / 'work/last_checkpoint').read_text() == str(saved)
    assert training.output().splitlines()[-1].endswith(f'SIGTERM: saved {saved}; exit code 75. Go on with --resume.')
    resumed = faults.train(tmp_path / 'work', '--resume', options=[WORKERS])
    done = int(saved.stem.removeprefix('iter_'))
    steps = [row['step'] for row in runs.scalars(tmp_path / 'work')]
    assert steps == list(range(1, 13)), f'{done} were done: {resumed.output()}'
    faults.assert_same_training(tmp_path / 'work/epoch_3.pth', undisturbed[0] / 'epoch_3.pth')
    assert not saved.exists(), 'a checkpoint at the end of an epoch takes its place'


def test_sigterm_to_one_rank_stops_both_at_the_same_iteration(two_undisturbed, tmp_path):
    first, second = faults.two_processes(tmp_path)
    first.until('Epoch(train) [2][1/4]')
    os.kill(second.process.pid, signal.SIGTERM)
    assert [first.wait(), second.wait()] == [75, 75], first.output() + second.output()
    assert len(list(tmp_path.glob('iter_*.pth'))) == 1
    for process in faults.two_processes(tmp_path, '--resume'):
        assert process.wait() == 0, process.output()
    assert [row['step'] for row in runs.scalars(tmp_path)] == list(range(1, 13))
    faults.assert_same_training(tmp_path / 'epoch_3.pth', two_undisturbed)


@pytest.mark.parametrize(
    ('sent', 'seconds', 'reason'),
    [
        (signal.SIGKILL, 30, 'Connection (closed|reset) by peer'),
        (signal.SIGSTOP, 3, 'Timed out waiting 3000ms|Application timeout'),
    ],
)
def test_a_rank_that_is_killed_or_hangs_ends_the_other_with_one_line(tmp_path, sent, seconds, reason):
    first, second = faults.two_processes(tmp_path, options=[f'env_cfg.dist_cfg.timeout={seconds}'])
    first.until('Epoch(train) [1][2/4]')
    os.kill(second.process.pid, sent)
    assert first.wait() == 1
    second.process.kill()
    last = first.output().splitlines()[-1]
    assert last.startswith('error: rank 0: another process ended, or did not answer within env_cfg.dist_cfg.timeout (')
    assert re.search(reason, last), last
    assert last.endswith('Go on with --resume.') and 'Traceback' not in first.output()


def test_a_full_disk_ends_all_ranks_with_one_line(tmp_path):
    first, second = faults.two_processes(tmp_path, options=['default_hooks.checkpoint.out_dir=/proc/1'])
    assert [first.wait(), second.wait()] == [2, 2], first.output() + second.output()
    assert 'could not be saved' in first.output().splitlines()[-1] and 'could not be saved' not in second.output()


def test_a_restart_by_torchrun_goes_on_from_what_this_job_saved(undisturbed, tmp_path):
    work = copied(undisturbed, tmp_path, latest=2)
    for saved in (False, True):
        copy = shutil.copytree(work, tmp_path / f'saved {saved}')
        if saved:
            (copy / '.saved_by_job').touch()
        training = faults.train(copy, TORCHELASTIC_RESTART_COUNT='1')
        assert ('resumed epoch: 2, iter: 8' in training.output()) == saved
        assert ('has checkpoints of an earlier run, such as epoch_2.pth' in training.output()) != saved
        assert (copy / '.saved_by_job').exists()
    work = copy
    faults.assert_same_training(work / 'epoch_3.pth', undisturbed[0] / 'epoch_3.pth')


def whole_job(work_dir, log, **environment):
    """Start tools/dist_train.sh on two processes; wait for its second epoch."""
    options = [*runs.SHRUNK, f'train_cfg.max_epochs={faults.EPOCHS}', 'train_dataloader.batch_size=8']
    command = [runs.REPO / 'tools/dist_train.sh', runs.AEMIM, '2', '--work-dir', work_dir, '--cfg-options', *options]
    ours = dict(PYTHON=sys.executable, PYTHONPATH=str(runs.REPO), PORT=str(faults.free_port()))
    with open(log, 'w') as output:
        job = subprocess.Popen(command, env={**os.environ, **ours, **environment}, stdout=output, stderr=output)
    atexit.register(job.kill)
    end = time.monotonic() + faults.LIMIT
    while 'Epoch(train) [2][1/4]' not in log.read_text():
        assert job.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.01)
    return job, faults.children(job.pid)


@pytest.mark.slow
@pytest.mark.skipif(KILLS <= 3, reason='long: set AEMIM_KILLS=20')
def test_a_job_whose_process_is_killed_restarts_and_ends_the_same(two_undisturbed, tmp_path):
    log = tmp_path / 'log'
    job, processes = whole_job(tmp_path / 'work', log, TORCHRUN_ARGS='--max-restarts=1')
    os.kill(processes[1], signal.SIGKILL)
    try:
        assert job.wait(faults.LIMIT) == 0, log.read_text()
    finally:
        job.kill()
    assert 'resumed epoch: 1, iter: 4' in log.read_text()
    faults.assert_same_training(tmp_path / 'work/epoch_3.pth', two_undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(KILLS <= 3, reason='long: set AEMIM_KILLS=20')
@pytest.mark.parametrize(('sent', 'code'), [(signal.SIGTERM, 75), (signal.SIGKILL, 1)])
def test_a_job_ends_in_time_with_its_code_and_one_line(tmp_path, sent, code):
    log = tmp_path / 'log'
    job, processes = whole_job(tmp_path / 'work', log)
    os.kill(job.pid if sent == signal.SIGTERM else processes[1], sent)
    try:
        assert job.wait(60) == code, log.read_text()
    finally:
        job.kill()
    last = log.read_text().splitlines()[-1]
    assert 'Traceback' not in log.read_text()
    if sent == signal.SIGKILL:
        assert last.startswith('error: rank 1 was killed by SIGKILL, and the other processes were stopped.')
    else:
        assert len(list((tmp_path / 'work').glob('iter_*.pth'))) == 1
