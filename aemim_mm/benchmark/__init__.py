"""Costs of a training step: the time of each stage, memory and floating-point operations, several configs compared."""

from . import peers
from .candidates import Candidate, from_config, from_peer
from .comparison import Measurement, compare
from .machine import Machine, choose_device
from .memory import keep_freed_memory
from .synthetic import synthetic_imagenet
from .table import figures, report

__all__ = [
    'Candidate',
    'Machine',
    'Measurement',
    'choose_device',
    'compare',
    'figures',
    'from_config',
    'from_peer',
    'keep_freed_memory',
    'peers',
    'report',
    'synthetic_imagenet',
]
