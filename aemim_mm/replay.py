"""Run a piece of a model again as it ran before: same random numbers, same arguments."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from mmengine.utils import apply_to
from torch import nn

from .errors import UserError


def gpus_in_use() -> list[int]:
    """Return the indices of the GPUs that this process may draw random numbers on; a model need not be on the first."""
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []


class RecordedRandomness:
    """The state of the generators of torch (CPU and all GPUs) and of Python's ``random`` at the moment of construction.

    MixMIM draws a mask ratio from Python's generator.
    """

    def __init__(self):
        self._python = random.getstate()
        self._cpu = torch.get_rng_state()
        self._devices = gpus_in_use()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Inside, the random numbers that followed the record come again; the outer stream does not move."""
        outer = random.getstate()
        try:
            with torch.random.fork_rng(self._devices):
                random.setstate(self._python)
                torch.set_rng_state(self._cpu)
                for device, state in zip(self._devices, self._cuda):
                    torch.cuda.set_rng_state(state, device)
                yield
        finally:
            random.setstate(outer)


@contextmanager
def separate_stream() -> Iterator[None]:
    """Inside, torch's random numbers are a stream of their own, whose seed is the next number of the outer stream."""
    seed = int(torch.randint(2**62, ()))
    with torch.random.fork_rng(gpus_in_use()):
        torch.manual_seed(seed)
        yield


@dataclass
class RecordedCall:
    """One call of a module: its arguments, and its output (None if it did not end)."""

    args: tuple
    kwargs: dict
    output: Any = None


@contextmanager
def recorded_calls(module: nn.Module) -> Iterator[list[RecordedCall]]:
    """Yield a list that grows by a :class:`RecordedCall` whenever ``module`` is called inside."""
    calls, begun = [], []

    def begin(_module, args, kwargs):
        begun.append(RecordedCall(args, kwargs))
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
    """One run of an algorithm's loss, recorded so that it can be repeated for other images.

    Args:
        algorithm_loss: Maps inputs, data samples and ``kwargs`` to a dict of losses and of figures for the log.
        model: The ``AdversarialMIM``, for what it tells about itself (``Algorithm``).
        inputs: Normalised images, (B, C, H, W), or a list of views of them.
        data_samples: One for each image, or None.

    Attributes:
        images: The images that are attacked, (B, C, H, W).
        loss: The sum of the losses, a scalar.
        log: The figures that are no loss.
        call: The recorded call of the encoder, the first if there are several.
        features: The output of the layer whose features are attacked, in that call.
        targets: Each target network and its outputs.
        randomness: The state of the random number generators before the run.
    """

    loss: torch.Tensor
    log: dict

    def __init__(
        self, algorithm_loss: Callable[..., dict], model: Any, inputs: Any, data_samples: list | None, **kwargs
    ):
        self.algorithm_loss, self.model = algorithm_loss, model
        self.inputs, self.data_samples, self.kwargs = inputs, data_samples, kwargs
        self.images = model.attacked_images(inputs)
        self.layer = model.backbone.get_submodule(model.attack_layer)
        self.randomness = RecordedRandomness()
        with ExitStack() as records:
            calls = records.enter_context(recorded_calls(model.backbone))
            outputs = records.enter_context(recorded_outputs(self.layer))
            self.targets = {one: records.enter_context(recorded_outputs(one)) for one in model.target_networks}
            found = self._run(inputs, data_samples)
        self.loss = cast(torch.Tensor, sum(value for name, value in found.items() if 'loss' in name))
        self.log = {name: value.detach() for name, value in found.items() if 'loss' not in name}
        if not calls:
            raise UserError(f'The loss of {type(model).__name__} does not call its backbone, so it has no features.')
        self.call, self.features = calls[0], outputs[0]

    def _run(self, inputs, data_samples) -> dict:
        return self.algorithm_loss(inputs, data_samples, **self.kwargs)

    def again(self, images: torch.Tensor) -> 'Pass':
        """Run the loss of other images with the same random numbers, hence the same mask."""
        with self.randomness.replayed():
            inputs = self.model.with_attacked_images(self.inputs, images)
            return Pass(self.algorithm_loss, self.model, inputs, self.data_samples, **self.kwargs)

    def encode(self, images: torch.Tensor, order: Sequence[int] | None = None) -> Any:
        """Run other images up to the attacked layer, and return its output. Random numbers are not replayed.

        Args:
            images: (B, C, H, W).
            order: A permutation of the data samples, which may hold masks. Default: they stay.
        """
        samples = [self.data_samples[i] for i in order] if self.data_samples and order else self.data_samples
        with outputs_given_back(self.targets):
            return self.until_layer(lambda: self._run(self.model.with_attacked_images(self.inputs, images), samples))

    def until_layer(self, run: Callable[[], Any]) -> Any:
        """Run ``run()``, which calls the encoder, until the attacked layer has an output; stop there, and return it."""
        with recorded_outputs(self.layer, number=1) as outputs:
            run()
        return outputs[0]

    def first(self, count: int) -> 'Pass':
        """Run the first ``count`` images up to the attacked layer, with new random numbers; there is no loss."""
        part = copy(self)
        part.images, part.data_samples = self.images[:count], self.data_samples and self.data_samples[:count]
        part.inputs = _first(self.inputs, count)
        part.targets = {network: _first(outputs, count) for network, outputs in self.targets.items()}
        part.randomness = RecordedRandomness()
        with recorded_calls(self.model.backbone) as calls:
            part.features = part.encode(part.images)
        part.call = calls[0]
        del part.loss, part.log
        return part


def _first(batches, count: int) -> Any:
    """The first ``count`` images of tensors (B, ...), in nested lists, tuples and dicts."""
    return apply_to(batches, lambda value: isinstance(value, torch.Tensor), lambda value: value[:count])


@contextmanager
def outputs_given_back(outputs: dict[nn.Module, list], choose: Callable | None = None) -> Iterator[None]:
    """Inside, modules do not compute, but return what they have returned before, call by call.

    Args:
        outputs: Each module and its outputs.
        choose: If given, modules do compute, and ``choose(old output, new output)`` is returned.
    """
    with ExitStack() as stack:
        for module, old in outputs.items():
            stack.enter_context(replaced(module, 'forward', _giving_back(module.forward, iter(old), choose)))
        yield


def _giving_back(forward, old, choose):
    def given_back(*args, **kwargs):
        return next(old) if choose is None else choose(next(old), forward(*args, **kwargs))

    return given_back


@contextmanager
def replaced(owner: object, name: str, value: Any) -> Iterator[None]:
    """Inside, ``owner`` has another attribute ``name``; uses of it may be nested."""
    before = {own: kept for own, kept in vars(owner).items() if own == name}
    vars(owner)[name] = value
    try:
        yield
    finally:
        del vars(owner)[name]
        vars(owner).update(before)


def substituted_argument(owner: object, method: str, old: torch.Tensor, new: torch.Tensor):
    """Inside, ``owner.method`` gets ``new`` wherever it is called with ``old``."""
    original = getattr(owner, method)

    def substituted(*args, **kwargs):
        return original(*(new if arg is old else arg for arg in args), **kwargs)

    return replaced(owner, method, substituted)
