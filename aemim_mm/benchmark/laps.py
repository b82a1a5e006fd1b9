"""Where the time of a training step goes."""

import functools
import time
from collections import Counter

import torch

PARTS = ('data', 'clean', 'attack', 'adversarial', 'backward', 'optimizer')


class Laps:
    """A clock that charges the time since its last look to a part of the step.

    Args:
        device: Waited for at each look, where it is an accelerator.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.start()

    def start(self) -> None:
        self.seconds = Counter()
        self._last = self._now()

    def charge(self, part: str) -> None:
        now = self._now()
        self.seconds[part] += now - self._last
        self._last = now

    def around(self, owner, method: str, before: str, after: str) -> None:
        """From now on, calls of ``owner.method`` look at the clock: the time until one is of the part ``before``."""
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            self.charge(before)
            result = function(*args, **kwargs)
            self.charge(after)
            return result

        setattr(owner, method, timed)

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def watch(laps: Laps, model, optim_wrapper) -> None:
    """Split the steps of a model (a mmengine ``BaseModel``) into ``PARTS``."""
    forward = 'clean'
    if hasattr(model, 'attack'):
        forward = 'adversarial'
        laps.around(model, '_free_graph', 'clean', 'backward')
        laps.around(model, 'attack', 'clean', 'attack')
    laps.around(model.data_preprocessor, 'forward', 'data', 'data')
    laps.around(optim_wrapper, 'backward', forward, 'backward')
    laps.around(optim_wrapper, 'step', 'optimizer', 'optimizer')
    laps.around(optim_wrapper, 'zero_grad', 'optimizer', 'optimizer')
