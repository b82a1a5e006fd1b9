"""Random numbers that depend only on the seed, the rank and the iteration."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# The first number of a seed: what the random numbers are for.
STEP, DATA = 0, 1


def folded(*numbers: int) -> int:
    """Return one 64-bit seed made from several integers >= 0 by NumPy's ``SeedSequence``."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_step(seed: int, iteration: int) -> None:
    """Seed Python, NumPy and torch (all devices) for one iteration. No device has to synchronize."""
    folding = folded(STEP, seed, iteration)
    _seed_python_and_numpy(folding)
    torch.manual_seed(folding)


@contextmanager
def data_randomness(seed: int) -> Iterator[None]:
    """Seed the random numbers of the CPU; restore the earlier state at the end.

    The states of other devices do not change, because a data loader's worker must not use these devices.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        _seed_python_and_numpy(seed)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def _seed_python_and_numpy(seed: int) -> None:
    # Python and NumPy use the same algorithm. Different seeds keep their numbers different.
    random.seed(seed + 1)
    # NumPy's legacy generator takes seeds of 32 bits.
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
