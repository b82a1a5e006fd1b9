"""Mixed precision without loss scaling, and AdamW in one kernel."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils import digit_version

from ..errors import UserError


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Train in bfloat16 autocast, on CUDA or CPU.

    bfloat16 has the exponent range of float32, so gradients do not underflow and need no loss scaling. This matters for
    the gradients of the attack, which a loss scaler would not scale. It also saves the synchronization that a loss
    scaler needs at each step.

    Args:
        loss_scale: Ignored. Configs that inherit a float16 recipe may pass it.
        **kwargs: Arguments of ``OptimWrapper``.

    Raises:
        UserError: The GPU does not compute in bfloat16.
    """

    def __init__(self, *args, loss_scale: float | str | dict | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0):
            raise UserError(
                f'{torch.cuda.get_device_name()} does not compute in bfloat16. Train in float32 with --cfg-options '
                'optim_wrapper.type=OptimWrapper, or in float16 with optim_wrapper.type=AmpOptimWrapper '
                'optim_wrapper.dtype=float16.'
            )

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


# torch has a fused AdamW for the CPU from version 2.4 on.
FUSED_DEVICES = {'cuda', 'cpu'} if digit_version(torch.__version__) >= digit_version('2.4.0') else {'cuda'}


@OPTIMIZERS.register_module()
class FusedAdamW(torch.optim.AdamW):
    """torch's AdamW with ``fused=True`` (one pass over the memory) where torch supports it for the device.

    Args:
        params: Parameters, or groups of parameters.
        **kwargs: Arguments of ``torch.optim.AdamW``.
    """

    def __init__(self, params: Iterable, **kwargs):
        params = list(params)
        groups = params if isinstance(params[0], dict) else [dict(params=params)]
        groups = [dict(group, params=_parameters(group)) for group in groups]
        devices = {parameter.device.type for group in groups for parameter in group['params']}
        super().__init__(groups, fused=devices <= FUSED_DEVICES or None, **kwargs)


def _parameters(group: dict) -> list:
    """The parameters of a group, which torch also takes as one tensor or as a generator."""
    params = group['params']
    return [params] if isinstance(params, torch.Tensor) else list(params)
