"""Loops, optimizers and hooks for mmengine's Runner, and the modules that they need."""

from . import hooks, loops, optim, param_groups

__all__ = ['hooks', 'loops', 'optim', 'param_groups']
