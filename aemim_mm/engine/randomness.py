"""Random numbers that depend only on the seed, the rank and the iteration."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

# The first number of a seed: what the random numbers are for.
STEP, DATA = 0, 1


def folded(*numbers: int) -> int:
    """Return one 64-bit seed made from several integers >= 0 by NumPy's ``SeedSequence``."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_step(seed: int, iteration: int, rank: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices) for one iteration of one rank. No device has to synchronize."""
    folding = folded(STEP, seed, iteration, rank)
    _seed_python_and_numpy(folding)
    torch.manual_seed(folding)


@contextmanager
def data_randomness(seed: int, devices: Sequence[int] = ()) -> Iterator[None]:
    """Seed the random numbers of the CPU and of some GPUs; restore the earlier states at the end.

    Args:
        seed: At least 0, below 2**64.
        devices: Indices of the GPUs. Default: none, because a data loader's worker must not use one.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            _seed_python_and_numpy(seed)
            for generator in [torch.default_generator, *(torch.cuda.default_generators[index] for index in devices)]:
                generator.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _seed_python_and_numpy(seed: int) -> None:
    # Python and NumPy use the same algorithm. Different seeds keep their numbers different.
    random.seed(seed + 1)
    # NumPy's legacy generator takes seeds of 32 bits.
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
