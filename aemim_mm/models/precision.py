"""The floating-point precision of the attack."""

from contextlib import AbstractContextManager, nullcontext

import torch

from ..errors import unknown_name

PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """Return the type in which autocast computes on this device now, or None if autocast is off."""
    if hasattr(torch, 'get_autocast_dtype'):  # torch 2.4 and later
        return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def attack_precision(name: str, device_type: str) -> AbstractContextManager:
    """Return a context in which the attack's passes run.

    Args:
        name: ``auto``, ``float32`` or ``bfloat16``. ``auto`` is the training's precision, but float32 if that is
            float16: the attack's gradients are not loss-scaled, and an underflow has the sign 0.
        device_type: ``cuda``, ``cpu``, ...

    Raises:
        UserError: An unknown name.
    """
    if name == 'auto':
        if autocast_dtype(device_type) is not torch.float16:
            return nullcontext()
        name = 'float32'
    if name not in PRECISIONS:
        raise unknown_name('attack_precision', name, ('auto', *PRECISIONS))
    if name == 'float32':
        return torch.autocast(device_type, enabled=False)
    return torch.autocast(device_type, dtype=PRECISIONS[name])
