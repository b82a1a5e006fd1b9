"""Candidates measured in turn, so that other work on the machine slows all of them alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch

from .candidates import Candidate
from .counting import Flops
from .machine import Machine
from .memory import peak_allocated, resident_bytes
from .stages import STAGES


@dataclass
class Measurement:
    """The costs of one candidate's training step.

    Attributes:
        name: The candidate's name.
        batch_size: Images in a step.
        flops: Floating-point operations of a step, in matrix products and attention.
        memory: Peak bytes of weights, optimizer states, gradients and activations.
        seconds: Time of a step, one for each repetition.
        stages: Stage to seconds, one for each repetition. The stages add up to ``seconds``.
        gain: Objective of the attack at its end, over the objective at its random start. None without an attack.
    """

    name: str
    batch_size: int
    flops: int
    memory: int
    seconds: list = field(default_factory=list)
    stages: dict = field(default_factory=lambda: {stage: [] for stage in STAGES})
    gain: float | None = None

    @property
    def step(self) -> float:
        """The median of ``seconds``."""
        return median(self.seconds)

    def ratios(self, base: 'Measurement') -> list[float]:
        """Return the step's time over the step's time of ``base``, for each repetition."""
        return [mine / other for mine, other in zip(self.seconds, base.seconds)]


def compare(
    candidates: list[Candidate], machine: Machine, *, repetitions: int, batch_size: int, progress: Callable = print
) -> list[Measurement]:
    """Measure all candidates.

    Each candidate makes two steps that warm it up. They count its operations and watch its memory.

    Args:
        candidates: The first is the base of all ratios.
        machine: Measures its matrix products in each repetition.
        repetitions: Number of timed steps of each candidate.
        batch_size: Images in a step.
        progress: Called with lines of text that report the progress.

    Returns:
        One measurement for each candidate, in their order.
    """
    measurements = []
    for candidate in candidates:
        progress(f'warming up: {candidate.name}')
        with Flops() as flops:
            candidate.step()
        resident = resident_bytes(candidate.model, candidate.optim_wrapper.optimizer)
        memory = resident + peak_allocated(candidate.step, machine.device)
        measurements.append(Measurement(candidate.name, batch_size, flops.total, memory))
    for number in range(repetitions):
        progress(f'repetition {number + 1} of {repetitions}')
        machine.measure()
        pairs = list(zip(candidates, measurements))
        # The order rotates, so that no candidate always comes first.
        first = number % len(pairs)
        for candidate, measurement in pairs[first:] + pairs[:first]:
            _time(candidate, measurement)
    return measurements


def _time(candidate: Candidate, measurement: Measurement) -> None:
    logged = candidate.step()
    seconds = candidate.clock.seconds
    measurement.seconds.append(sum(seconds.values()))
    for stage, values in measurement.stages.items():
        values.append(seconds[stage])
    if 'attack_gain' in logged:
        measurement.gain = float(torch.as_tensor(logged['attack_gain']))
