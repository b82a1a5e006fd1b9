"""One training step with known weights, images and random numbers, up to the gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...engine.randomness import data_randomness
from ...replay import recorded_calls
from ..candidates import Candidate, from_config
from .rows import Needed

# Half precision with a fixed loss scale: a dynamic one would begin with steps that it skips.
FLOAT16 = ('optim_wrapper.type=AmpOptimWrapper', 'optim_wrapper.dtype=float16', 'optim_wrapper.loss_scale=1024.0')


@dataclass
class Setup:
    """What is checked, and where.

    Attributes:
        device: The device to check.
        config: Config of an AEMIM.
        baseline: Config of the stock MAE with the same sizes.
        presets: Name to config, of other candidates whose cost is measured.
        folder: Folder for data and work directories.
        data_root: Stand-in for ImageNet, or None.
        options: Changes of all configs, each ``KEY=VALUE``.
        images: Images in a step whose values are compared.
        batch_size: Images in a step whose cost is measured.
        repetitions: Timed steps of each candidate.
        compiler: Backend of ``torch.compile``, or None for no compilation.
        benchmark: The figures of the benchmark, once it has run.
        reference: The step in float32 on the CPU, once it was taken.
        syncs: Name of a candidate to the places where its step waits for the device, and how often.
    """

    device: torch.device
    config: Path
    baseline: Path
    presets: dict[str, Path]
    folder: Path
    data_root: str | None = None
    options: tuple[str, ...] = ()
    images: int = 4
    batch_size: int = 64
    repetitions: int = 5
    compiler: str | None = None
    benchmark: dict = field(default_factory=dict)
    reference: 'Step | None' = None
    syncs: dict = field(default_factory=dict)
    _batches: dict = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """The precision of the configs, or float32 on a GPU that lacks it."""
        return 'bfloat16' if has_bfloat16(self.device) else 'float32'

    def candidate(
        self,
        config: Path,
        *options: str,
        name: str = '',
        device: torch.device | None = None,
        precision: str | None = None,
        batch_size: int | None = None,
    ) -> Candidate:
        """Build a candidate whose weights are the same on each device, and that gets the same batch in each step.

        Args:
            config: Its config.
            *options: Changes of this config.
            name: Its name in tables.
            device, precision, batch_size: Default: the device to check, ``precision`` and ``images``.
        """
        device, count = device or self.device, batch_size or self.images
        precision = precision or self.precision
        if precision == 'bfloat16' and not has_bfloat16(device):
            raise Needed('a GPU that computes in bfloat16 (compute capability 8.0)')
        if precision == 'float16' and device.type != 'cuda':
            raise Needed('a GPU: the loss scaler works on no other device')
        changes = [*self.options, 'train_dataloader.num_workers=0', *options]
        changes += FLOAT16 if precision == 'float16' else ()
        settings: dict[str, Any] = dict(data_root=None, stand_in=self.data_root, device=device, batch_size=count)
        settings.update(precision='config' if precision == 'float16' else precision)
        candidate = from_config(name, config, changes, **settings)
        # One batch for all steps: loading would take longer than a step of the device.
        if count not in self._batches:
            with data_randomness(seed=0):
                self._batches[count] = next(candidate.batches)
        candidate.batches = repeat(self._batches[count])
        return candidate


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``Bfloat16OptimWrapper`` accepts the device."""
    return device.type != 'cuda' or torch.cuda.get_device_capability(device) >= (8, 0)


@dataclass
class Step:
    """What a training step computed; all tensors are on the CPU.

    Attributes:
        log: Name to value, of what mmengine would log.
        gradients: Name to gradient, of the trainable parameters that have one.
        missing: Names of the trainable parameters without a gradient.
        pixels: The images, in pixels, (B, C, H, W).
        attacked: The adversarial images, in pixels.
        mask: The mask of the adversarial pass, (B, rows, columns), 1 = hidden.
    """

    log: dict[str, float]
    gradients: dict[str, torch.Tensor]
    missing: list[str]
    pixels: torch.Tensor
    attacked: torch.Tensor
    mask: torch.Tensor


def take_step(candidate: Candidate, wrapped: Any = None, batch: dict | None = None, seed: int = 1) -> Step:
    """Run mmengine's training step of an AEMIM up to the update of the weights, which is left out.

    Args:
        candidate: The candidate.
        wrapped: Its model in a wrapper such as DDP. Default: the model.
        batch: Training data. Default: the candidate's.
        seed: Seed of the random numbers.
    """
    optim_wrapper: Any = candidate.optim_wrapper
    model: Any = candidate.model
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    with recorded_calls(model.backbone) as calls, without_update(optim_wrapper):
        log = (wrapped or model).train_step(batch or next(candidate.batches), optim_wrapper)
    if hasattr(optim_wrapper, 'loss_scaler'):
        optim_wrapper.loss_scaler.unscale_(optim_wrapper.optimizer)
    trainable = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    images, attacked = (model.data_preprocessor.denormalize(call.args[0]).cpu() for call in (calls[0], calls[-1]))
    return Step(
        log={name: value.item() for name, value in log.items()},
        gradients={name: value.float().cpu() for name, value in trainable.items() if value is not None},
        missing=[name for name, value in trainable.items() if value is None],
        pixels=images,
        attacked=attacked,
        mask=model.mask_of(calls[-1]).cpu(),
    )


@contextmanager
def without_update(optim_wrapper: Any) -> Iterator[None]:
    """Inside, ``update_params`` computes the gradients and leaves them, and the weights, as they are."""
    names = ('step', 'zero_grad')
    for name in names:
        setattr(optim_wrapper, name, lambda **_: None)
    try:
        yield
    finally:
        for name in names:
            delattr(optim_wrapper, name)


class CPURandomNumbers(TorchFunctionMode):
    """Inside, torch's random numbers are drawn on the CPU, so that masks and starts are the same on each device.

    Args:
        rank, ranks: Draw for the batches of all ranks, and return the part of one: ``ranks`` processes with one seed
            then use the numbers that a single process with the whole batch uses.
    """

    FACTORIES = {torch.rand, torch.randn}
    LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}

    def __init__(self, rank: int = 0, ranks: int = 1):
        super().__init__()
        self.rank, self.ranks = rank, ranks

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in self.LIKE:
            like = dict(device=args[0].device, dtype=args[0].dtype)
            return self._draw(self.LIKE[func], args[0].shape, **{**like, **kwargs})
        if func in self.FACTORIES:
            shape = args[0] if isinstance(args[0], (tuple, list)) else args
            return self._draw(func, shape, **kwargs)
        return func(*args, **kwargs)

    def _draw(self, draw, shape, device=None, **kwargs):
        numbers = draw(shape[0] * self.ranks, *shape[1:], **kwargs)
        return numbers[self.rank * shape[0] :][: shape[0]].to(device or 'cpu')


def distance(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Return the norm of the difference of two sets of gradients, over the norm of the expected set.

    A gradient that only one set has counts as zero in the other set.
    """
    total = torch.stack([value.norm() for value in expected.values()]).norm()
    names = got.keys() | expected.keys()
    apart = [(got.get(name, torch.zeros(())) - expected.get(name, torch.zeros(()))).norm() for name in names]
    return float(torch.stack(apart).norm() / total)
