"""What training steps cost: time by parts, memory, floating-point operations; several configs side by side."""

from . import peers
from .contenders import Contender, from_config, from_peer
from .machine import Machine, choose_device
from .memory import keep_freed_memory
from .photographs import photographs
from .rounds import Result, compare
from .table import table, to_json

__all__ = [
    'Contender',
    'Machine',
    'Result',
    'choose_device',
    'compare',
    'from_config',
    'from_peer',
    'keep_freed_memory',
    'peers',
    'photographs',
    'table',
    'to_json',
]
