"""Run a piece of a model again as it ran before: same random numbers, same arguments."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from .errors import UserError


def gpus_in_use() -> list[int]:
    """Return the indices of the GPUs that this process may draw random numbers on; a model need not be on the first."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


class RecordedRandomness:
    """The state of torch's random number generators (CPU and all GPUs) at the moment of construction."""

    def __init__(self):
        self._cpu = torch.get_rng_state()
        self._devices = gpus_in_use()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, the random numbers that followed the record come again; the outer stream does not move."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda):
                torch.cuda.set_rng_state(state, device)
            yield


@dataclass
class RecordedCall:
    """One call of a module: its arguments, its output (None if it did not end), and the random numbers before it."""

    module: nn.Module
    args: tuple
    kwargs: dict
    output: Any
    randomness: RecordedRandomness

    def again(self, images: torch.Tensor, new_images: torch.Tensor, order: torch.Tensor | None = None) -> Any:
        """Repeat the call with ``new_images`` in the place of ``images``. Random numbers are not replayed.

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
def recorded_calls(module: nn.Module) -> Iterator[list[RecordedCall]]:
    """Yield a list that grows by a :class:`RecordedCall` whenever ``module`` is called inside."""
    calls, begun = [], []

    def begin(module, args, kwargs):
        begun.append(RecordedCall(module, args, kwargs, None, RecordedRandomness()))
        calls.append(begun[-1])

    def end(_module, _args, output):
        begun.pop().output = output

    handles = module.register_forward_pre_hook(begin, with_kwargs=True), module.register_forward_hook(end)
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):
    pass


@contextmanager
def recorded_outputs(module: nn.Module, number: int | None = None) -> Iterator[list]:
    """Yield a list of the outputs of ``module``. The ``with`` block ends as soon as there are ``number`` of them."""
    outputs = []

    def note(_module, _args, output):
        outputs.append(output)
        if len(outputs) == number:
            raise _Reached

    handle = module.register_forward_hook(note)
    try:
        yield outputs
    except _Reached:
        pass
    finally:
        handle.remove()


class Pass:
    """One run of an algorithm's loss through an encoder, recorded so that it can be repeated.

    Args:
        algorithm_loss: Maps images, data samples and ``kwargs`` to a dict of losses.
        encoder: The module whose last call is recorded.
        images: (B, C, H, W).
        data_samples: One for each image, or None.
        layer: The path inside the encoder of the module whose output are the features. Default: the encoder itself.

    Attributes:
        loss: The sum of the losses, a scalar.
        call: The recorded call of the encoder.
        features: The output of the layer in that call.
        randomness: The state of the random number generators before the run.
    """

    loss: torch.Tensor

    def __init__(
        self,
        algorithm_loss: Callable[..., dict],
        encoder: nn.Module,
        images: torch.Tensor,
        data_samples: list | None,
        layer: str = '',
        **kwargs,
    ):
        self.algorithm_loss, self.encoder, self.layer = algorithm_loss, encoder, layer
        self.images, self.data_samples, self.kwargs = images, data_samples, kwargs
        self.randomness = RecordedRandomness()
        with recorded_calls(encoder) as calls, recorded_outputs(encoder.get_submodule(layer)) as outputs:
            self.loss = self._run()
        self.call, self.features, self._number = calls[-1], outputs[-1], len(outputs)

    def _run(self) -> torch.Tensor:
        losses = self.algorithm_loss(self.images, self.data_samples, **self.kwargs)
        return cast(torch.Tensor, sum(value for name, value in losses.items() if 'loss' in name))

    def again(self, images: torch.Tensor) -> 'Pass':
        """Run the loss of other images with the same random numbers, hence the same mask."""
        with self.randomness.replayed():
            return Pass(self.algorithm_loss, self.encoder, images, self.data_samples, self.layer, **self.kwargs)

    def encode(self, run: Callable[[], Any], number: int = 1) -> Any:
        """Run ``run()`` until the layer has been called ``number`` times, stop there, and return that call's output."""
        with recorded_outputs(self.encoder.get_submodule(self.layer), number) as outputs:
            run()
        return outputs[-1]

    def first(self, count: int) -> 'Pass':
        """Run the first ``count`` images up to the layer, with new random numbers; there is no loss."""
        part = copy(self)
        part.images, part.data_samples = self.images[:count], self.data_samples and self.data_samples[:count]
        part.randomness = RecordedRandomness()
        with recorded_calls(self.encoder) as calls:
            part.features = self.encode(part._run, self._number)
        part.call = calls[-1]
        del part.loss
        return part


@contextmanager
def substituted_argument(owner: object, method: str, old: torch.Tensor, new: torch.Tensor) -> Iterator[None]:
    """Inside, ``owner.method`` gets ``new`` wherever it is called with ``old``; uses of it may be nested."""
    original = getattr(owner, method)

    def substituted(*args, **kwargs):
        return original(*(new if arg is old else arg for arg in args), **kwargs)

    before = {name: value for name, value in vars(owner).items() if name == method}
    setattr(owner, method, substituted)
    try:
        yield
    finally:
        delattr(owner, method)
        vars(owner).update(before)
