"""Runs of the tools in their own processes, which tests kill, stop and starve."""

import atexit
import gc
import os
import resource
import time
from functools import partial
from pathlib import Path

import torch

from helpers import runs
from helpers.processes import SERVER, free_port

# 3 epochs of 4 iterations.
EPOCHS = 3
TRAINS = 'Checkpoints will be saved to'
LIMIT = 120


def run_tool(tool: str, argv: list, environment: dict) -> None:
    """Run a script below tools/ with more environment variables. ``FILE_SIZE`` limits the bytes of a file.

    To imitate a disk that fails, writing more is an error.
    """
    if 'FILE_SIZE' in environment:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(environment['FILE_SIZE']),) * 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    runs.run(tool, *argv)


class Process:
    """A function in its own process, and its output.

    Args:
        log: File for the output.
        function: A function of a module.
        *args: Its arguments.
    """

    def __init__(self, log, function, *args):
        self.log = Path(log)
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        self.process = SERVER.Process(target=_redirected, args=(str(log), function, args))
        self.process.start()
        atexit.register(self.process.kill)

    def wait(self, seconds: float = LIMIT) -> int:
        """Wait for the end; return the exit code, negative for a signal. After ``seconds``, kill it and fail."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f'still running after {seconds} s:\n{self.output()}')
        return self.process.exitcode

    def until(self, text: str):
        """Wait until the output contains ``text``; return this process."""
        end = time.monotonic() + LIMIT
        while text not in self.output():
            if time.monotonic() > end or self.process.exitcode is not None:
                raise AssertionError(f'{text!r} did not come:\n{self.output()}')
            time.sleep(0.01)
        return self

    def output(self) -> str:
        """The output so far."""
        return self.log.read_bytes()[self._begin :].decode() if self.log.exists() else ''


def _redirected(log, function, args):
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    gc.freeze()
    function(*args)


class Training(Process):
    """A run of ``tools/train.py``.

    Args:
        work_dir: The work directory. The output goes to ``output.txt`` inside.
        *flags: Flags of the tool.
        options: Values of ``--cfg-options``.
        config: The config. Default: the demo's with a smaller network, fewer images and three epochs.
        **environment: Environment variables.
    """

    def __init__(self, work_dir, *flags, options=(), config=None, **environment):
        self.work_dir = Path(work_dir)
        self.work_dir.mkdir(exist_ok=True)
        if config is None:
            options = (*runs.SHRUNK, f'train_cfg.max_epochs={EPOCHS}', *options)
        argv = (config or runs.AEMIM, '--work-dir', self.work_dir, *flags, '--cfg-options', *options)
        log = self.work_dir / f'output{environment.get("RANK", "")}.txt'
        super().__init__(log, run_tool, 'train.py', [str(word) for word in argv], environment)


def children(pid: int) -> list:
    """Ids of the child processes of a process, in the order of their start."""
    return [int(word) for word in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def train(work_dir, *flags, options=(), **environment) -> Training:
    """Run a training to its end; fail if it fails."""
    training = Training(work_dir, *flags, options=options, **environment)
    code = training.wait()
    assert code == 0, training.output()
    return training


def on_two(start) -> list:
    """Call ``start`` with the environment variables of each of two processes, as torchrun sets them."""
    common = dict(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    return [start(RANK=rank, LOCAL_RANK=rank, **common) for rank in ('0', '1')]


def two_processes(work_dir, *flags, options=(), config=None) -> list:
    """Start the two processes of a distributed training."""
    options = ('train_dataloader.batch_size=8', *options)
    return on_two(partial(Training, work_dir, '--launcher', 'pytorch', *flags, options=options, config=config))


def assert_same_training(path, expected) -> None:
    """Assert that the weights, optimizers and schedules of two checkpoints are equal bit for bit."""
    states = [torch.load(file, map_location='cpu', weights_only=False) for file in (path, expected)]
    assert states[0]['meta']['iter'] == states[1]['meta']['iter']
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        _assert_same(states[0][part], states[1][part], part)


def _assert_same(got, expected, name):
    if isinstance(expected, torch.Tensor):
        assert torch.equal(got, expected), name
    elif isinstance(expected, dict):
        assert got.keys() == expected.keys(), name
        for key in expected:
            _assert_same(got[key], expected[key], f'{name}.{key}')
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected), name
        for index, (one, other) in enumerate(zip(got, expected)):
            _assert_same(one, other, f'{name}.{index}')
    else:
        assert got == expected, name
