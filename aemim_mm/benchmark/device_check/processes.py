"""Checks that run in processes of their own: DDP on two devices, and a training that is broken and resumed."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from torch import distributed
from torch import multiprocessing as processes

from ...launch import train
from ..candidates import WRAPPERS
from .devices import TOLERANCES, exact_products, relative
from .rows import Needed, Row, at_least, at_most, equal
from .steps import CPURandomNumbers, Setup, distance, take_step

RANKS = 2
TIMEOUT = timedelta(minutes=5)
# 2 epochs of 2 batches. With the configs' schedules, the first steps would hardly change the weights.
SHORT = (
    'param_scheduler=None',
    'custom_hooks=[]',
    'optim_wrapper.optimizer.lr=1e-4',
    'randomness.deterministic=True',
    'default_hooks.checkpoint.save_last=False',
    'train_dataloader.num_workers=0',
    'env_cfg.mp_cfg.mp_start_method=forkserver',
    'log_level=ERROR',
)


def on_ranks(function: Callable, *args: Any, ranks: int) -> None:
    """Call ``function(rank, *args)``, a function of a module, in new processes, and wait for them.

    Raises:
        ProcessRaisedException: A process failed. The message is its traceback.
        TimeoutError: A process did not end.
    """
    # A new process has no state of CUDA, of mmengine and of deterministic kernels.
    started: Any = processes.start_processes(_quiet, (function, *args), ranks, join=False, start_method='forkserver')
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    try:
        while not started.join(timeout=1):
            if time.monotonic() > deadline:
                raise TimeoutError(f'no result after {TIMEOUT}')
    finally:
        for process in started.processes:
            process.kill()


def _quiet(rank: int, function: Callable, *args: Any) -> None:
    MMLogger.get_current_instance().setLevel('ERROR')
    function(rank, *args)


def two_processes(setup: Setup) -> Iterator[Row]:
    """Compare a step of DDP on two devices with a step of one process on the same batch."""
    if setup.device.type == 'cuda' and torch.cuda.device_count() < RANKS:
        raise Needed('2 GPUs')
    Path(setup.folder, 'store').unlink(missing_ok=True)
    on_ranks(_ddp_step, setup, ranks=RANKS)
    first, second = (torch.load(_result(setup, rank), weights_only=True) for rank in range(RANKS))
    with CPURandomNumbers(), exact_products():
        expected = take_step(setup.candidate(setup.config, precision='float32'))
    allowed = TOLERANCES['float32']
    for name in ('loss_clean', 'loss_adv'):
        mean = (first['log'][name] + second['log'][name]) / RANKS
        yield at_most(f'{name}: relative difference', relative(mean, expected.log[name]), allowed.loss)
    apart = distance(first['gradients'], expected.gradients)
    yield at_most('gradients: relative difference', apart, allowed.gradient)
    differ = [name for name, value in first['weights'].items() if not torch.equal(value, second['weights'][name])]
    yield equal('weights after an update: tensors that differ', len(differ), 0)


def _ddp_step(rank: int, setup: Setup) -> None:
    cuda = setup.device.type == 'cuda'
    device = torch.device('cuda', rank) if cuda else setup.device
    if cuda:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    distributed.init_process_group(
        'nccl' if cuda else 'gloo',
        init_method=(setup.folder / 'store').as_uri(),
        rank=rank,
        world_size=RANKS,
        timeout=TIMEOUT,
    )
    candidate = setup.candidate(setup.config, device=device, precision='float32')
    ddp = MMDistributedDataParallel(candidate.model, device_ids=[rank] if cuda else None, broadcast_buffers=False)
    half = setup.images // RANKS
    batch = {name: value[rank * half :][:half] for name, value in next(candidate.batches).items()}
    with CPURandomNumbers(rank, RANKS), exact_products():
        step = take_step(candidate, ddp, batch)
    candidate.optim_wrapper.step()
    weights = {name: value.cpu() for name, value in candidate.model.state_dict().items()}
    torch.save(dict(log=step.log, gradients=step.gradients, weights=weights), _result(setup, rank))
    distributed.barrier()
    # In torch 2.1, destroying a group of gloo may hang.
    os._exit(0)


def _result(setup: Setup, rank: int) -> Path:
    return setup.folder / f'rank{rank}.pth'


def resumption(setup: Setup) -> Iterator[Row]:
    """Break a training, resume it, and compare its weights with a training without a break, bit for bit."""
    path = setup.folder / 'resumed.json'
    on_ranks(_trainings, setup, path, ranks=1)
    found = json.loads(path.read_text())
    yield equal('a step, repeated: gradients that differ', found['repeated'], 0)
    yield equal('resumed training: weights that differ', found['resumed'], 0)
    yield at_least('resumed training: weights that it changed', found['changed'], 1)


def _trainings(_rank: int, setup: Setup, path: Path) -> None:
    # CUDA reads it when its first product is computed.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    if setup.device.type == 'cuda':
        torch.cuda.set_device(setup.device)
    candidate = setup.candidate(setup.config)
    torch.use_deterministic_algorithms(True)
    first, second = (take_step(candidate).gradients for _ in range(2))
    del candidate

    def run(name, epochs, keep=False, resume=None):
        count = 2 * setup.images
        data = (f'train_dataloader.dataset.indices={count}', f'train_dataloader.batch_size={setup.images}')
        runner = train(
            setup.config,
            work_dir=setup.folder / name,
            data_root=setup.data_root,
            resume=resume,
            options=[
                *setup.options,
                *SHORT,
                *data,
                f'optim_wrapper.type={WRAPPERS[setup.precision]}',
                f'train_cfg.max_epochs={epochs}',
                f'experiment_name={name}{epochs}',
                f'default_hooks.checkpoint.interval={1 if keep else 100}',
            ],
        )
        return {key: value.cpu().clone() for key, value in runner.model.state_dict().items()}

    broken = run('broken', 1, keep=True)
    resumed = run('broken', 2, resume='auto')
    whole = run('whole', 2)
    found = dict(repeated=(first, second), resumed=(resumed, whole), changed=(resumed, broken))
    path.write_text(json.dumps({name: _differing(*pair) for name, pair in found.items()}))


def _differing(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> int:
    return sum(not torch.equal(got[name], value) for name, value in expected.items())
