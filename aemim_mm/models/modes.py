"""Modes of modules that are restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules of a model into eval mode; restore each module's own mode at the end.

    ``model.train()`` at the end would be wrong: some modules may be in eval mode for good.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
