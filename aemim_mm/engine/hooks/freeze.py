"""A hook that keeps a layer as it is at the beginning of training."""

from collections.abc import Sequence
from functools import wraps
from typing import Any, cast

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UserError
from ..ranks import bare_model


@HOOKS.register_module()
class FreezeHook(Hook):
    """Keep parameters unchanged for the first epochs: drop their gradients before each step of the optimizer.

    The gradients are computed, so distributed training finds all that it expects. They count in the clipped norm. The
    optimizer makes no step for these parameters, so they do not decay either.

    Args:
        names: Beginnings of names of parameters.
        epochs: Number of epochs, >= 0.

    Raises:
        UserError: The model has no parameter of such a name.

    Source: the last layer of DINO, arXiv 2104.14294, and iBOT, arXiv 2111.07832, is frozen for one epoch.
    """

    def __init__(self, names: Sequence[str] = ('head.last_layer.',), epochs: int = 1):
        self.names, self.epochs = (names,) if isinstance(names, str) else tuple(names), epochs

    def before_train(self, runner: Runner) -> None:
        """Watch the steps of the optimizer."""
        parameters = dict(bare_model(runner.model).named_parameters())
        missing = [start for start in self.names if not any(name.startswith(start) for name in parameters)]
        if missing:
            raise UserError(
                f'FreezeHook: no parameter of {type(bare_model(runner.model)).__name__} begins with '
                f'{" or ".join(missing)}. Change names of the hook.'
            )
        frozen = [parameter for name, parameter in parameters.items() if name.startswith(self.names)]

        # Not a step hook of the optimizer: torch 2.1 calls none once anything in the process was compiled.
        optimizer: Any = cast(OptimWrapper, runner.optim_wrapper).optimizer
        step = optimizer.step

        @wraps(step)
        def step_of_the_rest(*args, **kwargs):
            if runner.epoch < self.epochs:
                for parameter in frozen:
                    parameter.grad = None
            return step(*args, **kwargs)

        optimizer.step = step_of_the_rest
