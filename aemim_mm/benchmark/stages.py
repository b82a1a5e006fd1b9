"""The time of each stage of a training step."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import record_function

STAGES = ('data', 'clean', 'attack', 'adversarial', 'backward', 'optimizer')
# The model marks its stages with torch.profiler.record_function, and so do torch's optimizers (before a '#').
STAGE_OF_MARK = {
    'aemim::clean': 'clean',
    'aemim::attack': 'attack',
    'aemim::adversarial': 'adversarial',
    'aemim::early_backward': 'backward',
    'Optimizer.step': 'optimizer',
    'Optimizer.zero_grad': 'optimizer',
}


class StageClock:
    """Splits the time of a training step into ``STAGES``.

    Loading and preprocessing are ``data``, the model's forward pass is ``clean``, and what follows is ``backward``.
    Inside a marked range, the time belongs to the stage of the mark.

    Args:
        device: Where the model runs. The clock waits for an accelerator at each change of stage.

    Attributes:
        seconds: Stage to seconds, of the last step. Their sum is the time of the step.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, model: torch.nn.Module) -> Iterator[None]:
        """Time the body of the ``with`` statement, which loads a batch and calls ``model`` once."""
        self.seconds, self._stages, self._last = defaultdict(float), ['data'], self._now()
        hooks = [
            model.register_forward_pre_hook(lambda *_: self._change('clean')),
            model.register_forward_hook(lambda *_: self._change('backward')),
        ]
        try:
            with heard_marks(self._enter, self._leave):
                yield
            self._charge()
        finally:
            for hook in hooks:
                hook.remove()

    def _change(self, stage: str) -> None:
        self._charge()
        self._stages[-1] = stage

    def _enter(self, mark: str) -> None:
        self._charge()
        # A mark of another library does not change the stage.
        self._stages.append(STAGE_OF_MARK.get(mark.split('#')[0], self._stages[-1]))

    def _leave(self) -> None:
        self._charge()
        self._stages.pop()

    def _charge(self) -> None:
        now = self._now()
        self.seconds[self._stages[-1]] += now - self._last
        self._last = now

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


@contextmanager
def heard_marks(entered: Callable[[str], None], left: Callable[[], None]) -> Iterator[None]:
    """Call functions whenever a range of ``torch.profiler.record_function`` begins or ends.

    torch's profiler sees the ranges too, but it also records each operator, and it does not wait for the device.

    Args:
        entered: Called with the name of a range before the range begins.
        left: Called without arguments after a range has ended.
    """
    enter, leave = record_function.__enter__, record_function.__exit__

    def enter_heard(mark):
        entered(mark.name)
        return enter(mark)

    def leave_heard(mark, *error):
        leave(mark, *error)
        left()

    record_function.__enter__, record_function.__exit__ = enter_heard, leave_heard
    try:
        yield
    finally:
        record_function.__enter__, record_function.__exit__ = enter, leave
