"""Run a function on several ranks over gloo, or a command, with a time limit."""

import os
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch
from torch import distributed

# Seconds. The slowest process takes one minute on a quiet machine.
TIMEOUT = 300


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def on_ranks(function, *args, ranks=2) -> None:
    """Call ``function(rank, *args)`` in each process of a group. The function is at the top level of a module."""
    # This process serves the store: a port that is free now may be taken before a rank opens it.
    store = distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    rest = (function, args, ranks, store.port)
    processes = torch.multiprocessing.start_processes(_rank, rest, ranks, join=False, start_method='spawn')
    deadline = time.monotonic() + TIMEOUT
    try:
        while not processes.join(timeout=1):  # join() raises what a process raised
            if time.monotonic() > deadline:
                pytest.fail(f'{function.__name__} did not end on all ranks within {TIMEOUT} s.')
    finally:
        for process in processes.processes:
            process.kill()


def _rank(rank, function, args, ranks, port):
    torch.set_num_threads(1)
    timeout = timedelta(seconds=TIMEOUT / 3)
    store = distributed.TCPStore('127.0.0.1', port, is_master=False, timeout=timeout)
    distributed.init_process_group('gloo', store=store, rank=rank, world_size=ranks, timeout=timeout)
    function(rank, *args)
    distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    # In torch 2.1, destroying the group deadlocks in 1 of 100 runs under load: it holds Python's lock while it joins a
    # thread that needs the lock to free tensors.
    os._exit(0)


def run(command, **settings) -> subprocess.CompletedProcess:
    """Run a command that must succeed. ``PORT`` is a free port, for scripts that launch ranks."""
    env = {**os.environ, 'PYTHON': sys.executable, 'PYTHONWARNINGS': 'ignore', 'PORT': str(free_port())}
    env.update(settings.pop('env', {}))
    settings = dict(capture_output=True, text=True, timeout=TIMEOUT, env=env, **settings)
    done = subprocess.run([str(word) for word in command], **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def torchrun(script, *argv, ranks=2) -> subprocess.CompletedProcess:
    """Run a Python file on several ranks of this machine."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', f'--nproc_per_node={ranks}']
    return run([*launcher, f'--master_port={free_port()}', script, *argv])
