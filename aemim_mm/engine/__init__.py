"""What mmengine's Runner takes from this package: loops, optimizers, hooks; and what they need."""

from . import hooks, loops, optim

__all__ = ['hooks', 'loops', 'optim']
