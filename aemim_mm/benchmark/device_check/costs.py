"""What a training step costs on the device: time, memory, waits for the device, and what compilation saves."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ...models.compilation import CAN_COMPILE
from ..candidates import Candidate
from ..comparison import compare
from ..machine import Machine
from ..table import figures
from .devices import SAME_DEVICE
from .rows import Needed, Row, at_most
from .steps import Setup, distance, take_step

PACKAGE = Path(__file__).resolve().parents[2]
# torch's message if an operation waits for the GPU while set_sync_debug_mode is 'warn'.
SYNC = 'called a synchronizing CUDA operation'
# More than the stock step: the check that the loss is finite.
MORE_SYNCS = 1
MAE, AEMIM = 'MAE of mmpretrain', 'AEMIM'


def candidates(setup: Setup) -> list[Candidate]:
    """Build the stock MAE, AEMIM and its presets, with the batch size whose cost is measured."""
    configs = {MAE: setup.baseline, AEMIM: setup.config, **setup.presets}
    return [setup.candidate(config, name=name, batch_size=setup.batch_size) for name, config in configs.items()]


def step_costs(setup: Setup) -> Iterator[Row]:
    """Time the stages of a step and measure its memory; all candidates get one batch, which is loaded before."""
    machine = Machine(setup.device)
    measured = compare(
        candidates(setup),
        machine,
        repetitions=setup.repetitions,
        batch_size=setup.batch_size,
        progress=lambda _line: None,
    )
    setup.benchmark = figures(measured, machine)
    for name, values in setup.benchmark['steps'].items():
        yield Row(f'{name}: step, ms', 1e3 * values['step'])
        yield Row(f'{name}: images/s', values['images_per_second'])
        yield Row(f'{name}: memory, GB', values['memory_mb'] / 1e3)
        if name != MAE:
            # Memory-bound kernels and the optimizer are not counted, and MAE has its share of them too.
            yield at_most(f'{name}: time over MAE', values['time_ratio'], 1.15 * values['flops_ratio'])


def waits(setup: Setup) -> Iterator[Row]:
    """Count the operations of a step that wait for the GPU, and find their lines."""
    if setup.device.type != 'cuda':
        raise Needed('a GPU: a CPU has nothing to wait for')
    for name, config in {MAE: setup.baseline, AEMIM: setup.config}.items():
        candidate = setup.candidate(config, batch_size=setup.batch_size)
        step = training_step(candidate)
        step()  # The first step allocates and chooses kernels.
        with torch.cuda.device(setup.device):
            torch.cuda.set_sync_debug_mode('warn')
            try:
                setup.syncs[name] = count_syncs(step)
            finally:
                torch.cuda.set_sync_debug_mode('default')
    yield from compare_syncs(setup.syncs)


def training_step(candidate: Candidate) -> Callable[[], object]:
    """Return mmengine's training step of a candidate, without a clock, which waits itself."""
    return lambda: candidate.model.train_step(next(candidate.batches), candidate.optim_wrapper)


def count_syncs(step: Callable[[], object]) -> dict[str, int]:
    """Count the warnings of torch about waiting for the GPU.

    Returns:
        ``file:line`` of the Python code that called the operation, to the count, the most frequent first.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        step()
    found = [warning for warning in caught if SYNC in str(warning.message)]
    return dict(Counter(f'{_short(warning.filename)}:{warning.lineno}' for warning in found).most_common())


def compare_syncs(syncs: dict[str, dict[str, int]]) -> Iterator[Row]:
    """Yield the rows about the waits of MAE's and AEMIM's step."""
    base = sum(syncs[MAE].values())
    yield Row(f'{MAE}: waits in a step', base)
    yield at_most(f'{AEMIM}: waits in a step', sum(syncs[AEMIM].values()), base + MORE_SYNCS)
    for place, count in list(syncs[AEMIM].items())[:8]:
        yield Row(f'{AEMIM}: {place}', count)


def _short(filename: str) -> str:
    """The path below the installed packages, or below the checkout."""
    path = Path(filename)
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE.parent).as_posix()
    return '/'.join(path.parts[path.parts.index('site-packages') + 1 :]) if 'site-packages' in path.parts else path.name


def compiled(setup: Setup) -> Iterator[Row]:
    """Compare a step with compiled layers with a plain step."""
    if setup.compiler is None:
        raise Needed('--compile, which takes minutes')
    if not CAN_COMPILE:
        raise Needed('a newer torch, such as 2.9')
    plain, fast = (setup.candidate(setup.config, batch_size=setup.batch_size) for _ in range(2))
    model: Any = fast.model
    for layer in [*model.backbone.layers, *model.neck.decoder_blocks]:
        layer.compile(backend=setup.compiler)
    got, expected = take_step(fast), take_step(plain)
    limit = SAME_DEVICE[setup.precision]
    yield at_most('gradients: relative difference', distance(got.gradients, expected.gradients), limit)
    seconds = {each: [] for each in ('fast', 'plain')}
    for number in range(1 + setup.repetitions):
        for name, candidate in dict(fast=fast, plain=plain).items():
            candidate.step()
            if number:  # The first step warms up.
                seconds[name].append(sum(candidate.clock.seconds.values()))
    yield Row('step, ms', 1e3 * median(seconds['fast']))
    ratios = [mine / other for mine, other in zip(seconds['fast'], seconds['plain'])]
    yield at_most('time over the plain step', median(ratios), 1.0)
