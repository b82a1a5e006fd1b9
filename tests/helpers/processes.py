"""Processes that cannot hang a test: a function on several ranks over gloo, or a command.

Ranks fork from a server that has imported the stack once, so a start takes a fraction of a second.
"""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch
from torch import distributed

# Seconds. Without contention, the slowest takes a minute.
TIMEOUT = 300
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['aemim_mm.launch', 'torch.distributed.run', 'helpers.faults'])


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def on_ranks(function, *args, ranks=2) -> None:
    """Call ``function(rank, *args)``, a function of a module, in the processes of a group."""
    # This process holds the store. A free port that a rank should open later could be taken by then.
    store = distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    rest = (function, args, ranks, store.port)
    processes = torch.multiprocessing.start_processes(_rank, rest, ranks, join=False, start_method='forkserver')
    deadline = time.monotonic() + TIMEOUT
    try:
        while not processes.join(timeout=1):  # This raises the exception of a process.
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
    # In torch 2.1, destroying the group may hang (1 in 100 under load): it joins a thread while it holds Python's lock,
    # and the thread needs the lock to free the tensors of the last collective.
    os._exit(0)


def run(command, **settings) -> subprocess.CompletedProcess:
    """Run a command that must succeed. ``PORT`` is set to a free port, for commands that launch ranks."""
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


def work(ready) -> None:
    """Be a worker of a data loader that has nothing to do. ``ready`` is an event, set when it has begun."""
    from aemim_mm.engine.loops import outlive_sigterm

    outlive_sigterm(0)
    ready.set()
    time.sleep(TIMEOUT)
