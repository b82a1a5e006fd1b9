"""Random numbers that depend on the seed, the rank and the iteration, and on nothing that happened before."""

import random
from contextlib import contextmanager

import numpy as np
import torch

STEP, DATA = 0, 1


def folded(*numbers: int) -> int:
    """One 64-bit seed from several whole numbers >= 0, by NumPy's ``SeedSequence``."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_step(seed: int, iteration: int) -> None:
    """Seed Python, NumPy and torch, on all devices, for one iteration; this makes no device wait."""
    folding = folded(STEP, seed, iteration)
    _seed_python_and_numpy(folding)
    torch.manual_seed(folding)


@contextmanager
def data_randomness(seed: int):
    """Inside, random numbers of this seed on the CPU; outside, as if nothing had happened.

    It leaves other devices alone: a data loader's worker must not touch them.
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
    # They are the same algorithm: from the same seed, they would give the same numbers.
    random.seed(seed + 1)
    # NumPy's legacy generator takes 32 bits at a time.
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
