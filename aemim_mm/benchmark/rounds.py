"""Contenders in turn, round by round, so that what slows the machine slows all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch

from .contenders import Contender
from .counting import Flops
from .laps import PARTS
from .machine import Machine
from .memory import most_allocated, resident_bytes


@dataclass
class Result:
    """Of one contender. Times are in seconds, one for each round.

    Attributes:
        flops: Floating-point operations of a step, in matrix products and attention.
        memory: The most bytes at one time: weights, optimizer states, gradients, activations.
        parts: The time of each part of the step, the sum of which is ``seconds``.
        gain: The attack's objective at its end over that at its random start; None without an attack.
    """

    name: str
    batch_size: int
    flops: int
    memory: int
    seconds: list = field(default_factory=list)
    parts: dict = field(default_factory=lambda: {part: [] for part in PARTS})
    gain: float | None = None

    @property
    def step(self) -> float:
        """The median of ``seconds``."""
        return median(self.seconds)

    def ratios(self, base: 'Result') -> list[float]:
        """The time of a step over that of ``base``, round by round."""
        return [mine / other for mine, other in zip(self.seconds, base.seconds)]


def compare(
    contenders: list[Contender], machine: Machine, *, rounds: int, batch_size: int, progress: Callable = print
) -> list[Result]:
    """Measure all contenders.

    Two rounds are for warming up, in which FLOPs are counted and memory is watched.

    Args:
        contenders: The first is what the others are compared with.
        machine: Gets a measurement of its matrix products in each round.
        rounds: How many steps of each are timed.
        batch_size: Images in a step.
        progress: Called with a line of text now and then.
    """
    results = []
    for contender in contenders:
        progress(f'warming up: {contender.name}')
        with Flops() as flops:
            contender.step()
        resident = resident_bytes(contender.model, contender.optim_wrapper.optimizer)
        memory = resident + most_allocated(contender.step, machine.device)
        results.append(Result(contender.name, batch_size, flops.total, memory))
    for number in range(rounds):
        progress(f'round {number + 1} of {rounds}')
        machine.measure()
        pairs = list(zip(contenders, results))
        # None is always the first, nor always behind the same one.
        first = number % len(pairs)
        for contender, result in pairs[first:] + pairs[:first]:
            _time(contender, result)
    return results


def _time(contender: Contender, result: Result) -> None:
    logged = contender.step()
    laps = contender.laps.seconds
    result.seconds.append(sum(laps.values()))
    for part, values in result.parts.items():
        values.append(laps[part])
    if 'attack_gain' in logged:
        result.gain = float(torch.as_tensor(logged['attack_gain']))
