"""The device computes what the CPU computes: losses, gradients and the attack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .rows import Row, at_least, at_most, equal
from .steps import CPURandomNumbers, Setup, Step, distance, take_step


@dataclass
class Tolerance:
    """How far a step may be from the step in float32 on the CPU.

    Attributes:
        loss: Relative difference of a loss.
        attack: Relative difference of the attack's objective at its end.
        gain: Relative difference of the objective at the end over the objective at the start. At the start, features
            hardly differ, so rounding is a large part of their distance.
        moved: Least share of the attacked values that the attack moves to the same place. The attack follows the sign
            of a gradient, and rounding changes the sign of small ones.
        gradient: Norm of the difference of all gradients, over their norm.
    """

    loss: float
    attack: float
    gain: float
    moved: float
    gradient: float


# Several times the differences that rounding makes on a CPU. In float16, the attack computes in float32.
TOLERANCES = {
    'float32': Tolerance(loss=1e-4, attack=1e-3, gain=1e-3, moved=0.99, gradient=1e-3),
    'float16': Tolerance(loss=5e-3, attack=0.05, gain=0.05, moved=0.9, gradient=0.03),
    'bfloat16': Tolerance(loss=5e-3, attack=0.2, gain=0.6, moved=0.7, gradient=0.15),
}
# How far the gradients of a step may be from those that the same device computes in another way.
SAME_DEVICE = {'float32': 1e-3, 'bfloat16': 0.03}


def agreement(setup: Setup, precision: str) -> Iterator[Row]:
    """Compare a step on the device with the step in float32 on the CPU: weights, images, mask and start are the same.

    Args:
        setup: What is checked.
        precision: ``float32``, ``bfloat16`` or ``float16``; the last one scales the loss.
    """
    checked = setup.candidate(setup.config, precision=precision)
    with CPURandomNumbers(), exact_products():
        got = take_step(checked)
        del checked
        if setup.reference is None:
            setup.reference = take_step(setup.candidate(setup.config, device=torch.device('cpu'), precision='float32'))
    yield from compared(got, setup.reference, TOLERANCES[precision])


def compared(got: Step, expected: Step, allowed: Tolerance) -> Iterator[Row]:
    """Yield the rows that compare two steps."""
    yield equal('mask: patches that differ', int((got.mask != expected.mask).sum()), 0)
    limits = dict(loss_clean=allowed.loss, loss_adv=allowed.loss, attack_end=allowed.attack, attack_gain=allowed.gain)
    for name, limit in limits.items():
        yield at_most(f'{name}: relative difference', relative(got.log[name], expected.log[name]), limit)
    yield at_least('x_adv: share of visible values moved alike', moved_alike(got, expected), allowed.moved)
    yield equal('gradients: missing', len(got.missing), len(expected.missing))
    yield at_most('gradients: relative difference', distance(got.gradients, expected.gradients), allowed.gradient)


def moved_alike(got: Step, expected: Step) -> float:
    """Return the share of the values in visible patches that two attacks moved to the same place, to 0.01 pixels."""
    height, width = (pixels // patches for pixels, patches in zip(expected.pixels.shape[-2:], expected.mask.shape[-2:]))
    visible = expected.mask.repeat_interleave(height, 1).repeat_interleave(width, 2)[:, None] == 0
    same = (got.attacked - expected.attacked).abs() < 0.01
    return float(same[visible.expand_as(same)].float().mean())


@contextmanager
def exact_products() -> Iterator[None]:
    """Inside, products of float32 matrices do not use TF32. There are no convolutions in the step of an AEMIM."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def relative(got: float, expected: float) -> float:
    """Return the difference of two numbers, over the expected one."""
    return abs(got - expected) / abs(expected)
