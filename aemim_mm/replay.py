"""Run a piece of a model again as it ran before: same random numbers, same arguments."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .errors import UserError


class RecordedRandomness:
    """The state of torch's random number generators (CPU and current device) when this object is made."""

    def __init__(self):
        self._cpu = torch.get_rng_state()
        self._devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def replayed(self):
        """Inside, random numbers come as they came after the record; outside, as if nothing had happened."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda):
                torch.cuda.set_rng_state(state, device)
            yield


@dataclass
class RecordedCall:
    """One call of a module: its arguments, its output, and the random numbers it began with."""

    module: nn.Module
    args: tuple
    kwargs: dict
    output: Any
    randomness: RecordedRandomness

    def again(self, images: torch.Tensor, new_images: torch.Tensor, order: torch.Tensor | None = None):
        """Repeat the call with ``new_images`` where ``images`` stood; random numbers are those of the moment.

        Args:
            images, new_images: (B, C, H, W).
            order: A permutation of the batch for all other tensors (masks); None leaves them as they were.
        """
        if not any(arg is images for arg in self.args):
            raise UserError(
                f'{type(self.module).__name__} was not called with the images that the data preprocessor gave, so they '
                'cannot be replaced by adversarial ones. Pass them to the backbone unchanged, as a positional argument.'
            )

        def replace(arg):
            if arg is images:
                return new_images
            return arg[order] if order is not None and isinstance(arg, torch.Tensor) else arg

        kwargs = {name: replace(arg) for name, arg in self.kwargs.items()}
        return self.module(*map(replace, self.args), **kwargs)


@contextmanager
def recorded_calls(module: nn.Module):
    """Yield a list that grows by a :class:`RecordedCall` whenever ``module`` is called inside."""
    calls, begun = [], []

    def begin(_module, _args):
        begun.append(RecordedRandomness())

    def end(module, args, kwargs, output):
        calls.append(RecordedCall(module, args, kwargs, output, begun.pop()))

    handles = module.register_forward_pre_hook(begin), module.register_forward_hook(end, with_kwargs=True)
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class _Answered(Exception):
    pass


def run_until_call(module: nn.Module, run, number: int) -> RecordedCall:
    """What ``run()`` calls ``module`` with for the ``number``-th time, and what it gets: there, ``run`` ends."""

    def stop(*_):
        if len(calls) == number:
            raise _Answered

    with recorded_calls(module) as calls:
        handle = module.register_forward_hook(stop)
        try:
            run()
        except _Answered:
            pass
        finally:
            handle.remove()
    return calls[number - 1]


@contextmanager
def substituted_argument(owner, method: str, old: torch.Tensor, new: torch.Tensor):
    """Inside, ``owner.method`` gets ``new`` wherever it is called with ``old``."""
    original = getattr(owner, method)

    def substituted(*args, **kwargs):
        return original(*(new if arg is old else arg for arg in args), **kwargs)

    setattr(owner, method, substituted)
    try:
        yield
    finally:
        delattr(owner, method)
