"""The arguments that the shell scripts give to torchrun and srun, and a run of two processes."""

import os
import shlex
import subprocess

import pytest
from helpers import processes, runs

TOOLS = runs.REPO / 'tools'
SHOW = '#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@"\nprintf "MASTER_PORT=%s\\n" "${MASTER_PORT:-}"\n'


@pytest.fixture
def shown(tmp_path):
    """Run a script with python and srun replaced by programs that print their arguments; return the lines."""
    for name in ('python', 'srun'):
        (tmp_path / name).write_text(SHOW)
        (tmp_path / name).chmod(0o755)

    def shown(command, code=0, **variables):
        names = ('PORT', 'NNODES', 'NODE_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'GPUS', 'GPUS_PER_NODE', 'PYTHON')
        names += ('TORCHRUN_ARGS', 'SRUN_ARGS', 'CPUS_PER_TASK')
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment['PATH'] = f'{tmp_path}:{environment["PATH"]}'
        script, *args = shlex.split(command)
        settings = dict(cwd=tmp_path, env={**environment, **variables}, capture_output=True, text=True)
        done = subprocess.run([TOOLS / script, *args], **settings)
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines() if code == 0 else done.stderr

    return shown


TORCHRUN = ['python', '-u', str(TOOLS / 'torchrun.py')]


@pytest.mark.parametrize(
    ('command', 'script', 'args'),
    [
        ('dist_train.sh "my config.py" 4 --amp --data-root "a b"', 'train.py', ['--amp', '--data-root', 'a b']),
        ('dist_test.sh "my config.py" last.pth 4 --out x.pkl', 'test.py', ['last.pth', '--out', 'x.pkl']),
    ],
)
class TestTorchrun:
    def test_one_machine(self, shown, command, script, args):
        assert shown(command)[:-1] == [
            *TORCHRUN,
            '--nnodes=1',
            '--node_rank=0',
            '--nproc_per_node=4',
            '--master_addr=127.0.0.1',
            '--master_port=29500',
            str(TOOLS / script),
            'my config.py',
            *args,
            '--launcher',
            'pytorch',
        ]

    def test_several_machines(self, shown, command, script, args):
        lines = shown(command, NNODES='3', NODE_RANK='2', MASTER_ADDR='10.0.0.1', PORT='123')
        assert lines[3:8] == [
            '--nnodes=3',
            '--node_rank=2',
            '--nproc_per_node=4',
            '--master_addr=10.0.0.1',
            '--master_port=123',
        ]

    def test_more_flags_for_torchrun(self, shown, command, script, args):
        lines = shown(command, TORCHRUN_ARGS='--max-restarts=3 --rdzv-backend=c10d')
        assert lines[7:11] == ['--master_port=29500', '--max-restarts=3', '--rdzv-backend=c10d', str(TOOLS / script)]


@pytest.mark.parametrize(
    ('command', 'script', 'args'),
    [
        ('slurm_train.sh gpu job config.py --resume', 'train.py', ['config.py', '--resume']),
        ('slurm_test.sh gpu job config.py last.pth', 'test.py', ['config.py', 'last.pth']),
    ],
)
class TestSlurm:
    @pytest.mark.parametrize(
        ('variables', 'expected'),
        [
            ({}, ['--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8', '--cpus-per-task=8']),
            ({'GPUS': '2'}, ['--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '--cpus-per-task=8']),
            (
                {'GPUS': '16', 'GPUS_PER_NODE': '4', 'CPUS_PER_TASK': '5'},
                ['--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4', '--cpus-per-task=5'],
            ),
        ],
    )
    def test_tasks(self, shown, command, script, args, variables, expected):
        lines = shown(command, **variables)
        assert lines[:3] == ['srun', '--partition=gpu', '--job-name=job'] and lines[3:7] == expected
        assert lines[7:] == [
            '--kill-on-bad-exit=1',
            'python',
            '-u',
            str(TOOLS / script),
            *args,
            '--launcher',
            'slurm',
            'MASTER_PORT=29500',
        ]

    def test_port_and_more_flags(self, shown, command, script, args):
        lines = shown(command, PORT='123', SRUN_ARGS='--quotatype=spot --exclude=n1')
        assert lines[7:10] == ['--kill-on-bad-exit=1', '--quotatype=spot', '--exclude=n1']
        assert lines[-1] == 'MASTER_PORT=123'


@pytest.mark.parametrize(
    ('command', 'usage'),
    [
        ('dist_train.sh config.py', 'CONFIG GPUS [flags of tools/train.py]'),
        ('dist_test.sh config.py last.pth', 'CONFIG CHECKPOINT GPUS [flags of tools/test.py]'),
        ('slurm_train.sh gpu job', 'PARTITION JOB_NAME CONFIG [flags of tools/train.py]'),
        ('slurm_test.sh gpu job config.py', 'PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]'),
    ],
)
def test_usage(shown, command, usage):
    message = shown(command, code=2)
    assert message.startswith('usage: ') and message.count('\n') == 1
    assert message.rstrip().endswith(f'{command.split()[0]} {usage}')


@pytest.mark.slow
def test_two_processes_train(tmp_path):
    """Started in another directory, over gloo."""
    options = [*runs.SHRUNK, 'train_dataloader.batch_size=8', 'train_cfg.max_epochs=2']
    command = [TOOLS / 'dist_train.sh', runs.AEMIM, '2', '--work-dir', 'work', '--resume', '--cfg-options', *options]
    output = processes.run(command, cwd=tmp_path, env=dict(PYTHONPATH=str(runs.REPO))).stdout
    rows = runs.scalars(tmp_path / 'work')
    # Two processes with a batch size of 8 take 4 iterations for 64 images.
    assert [row['step'] for row in rows] == list(range(1, 9))
    assert rows[-1]['loss_clean'] < rows[0]['loss_clean']
    # One process logs and saves.
    assert output.count('Epoch(train) [1][4/4]') == 1
    assert sorted(path.name for path in (tmp_path / 'work').glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    assert not any(name.startswith('module.') for name in runs.weights(tmp_path / 'work/epoch_2.pth'))
