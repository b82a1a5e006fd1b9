"""In which numbers the attack runs."""

from contextlib import nullcontext

import torch

from ..errors import unknown_name

PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def autocast_dtype(device_type: str):
    """The type that autocast computes in on this device at the moment; None where it is off."""
    if hasattr(torch, 'get_autocast_dtype'):  # torch 2.4 and later
        return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def attack_precision(name: str, device_type: str):
    """A context for the attack's passes.

    Args:
        name: ``auto``, ``float32`` or ``bfloat16``. ``auto`` is the training's own, but float32 where that is float16:
            the attack's gradients are not loss-scaled, and the sign of an underflow is 0.
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
