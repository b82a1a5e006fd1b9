"""Mixed precision without loss scaling; AdamW in one kernel."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.runner import autocast
from mmengine.utils import digit_version


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Training in bfloat16 autocast, on CUDA and on CPU.

    bfloat16 has the range of float32, so no gradient underflows: neither the training's nor the attack's, which no
    loss scaler would reach. Nor does a scaler make the device wait at each step.

    Args:
        loss_scale: Taken for configs that inherit a float16 recipe, and not used.
        **kwargs: Of ``OptimWrapper``.
    """

    def __init__(self, *args, loss_scale=None, **kwargs):
        super().__init__(*args, **kwargs)

    @contextmanager
    def optim_context(self, model):
        """The forward pass under autocast."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


# On a CPU, since 2.4.
FUSED_DEVICES = {'cuda', 'cpu'} if digit_version(torch.__version__) >= digit_version('2.4.0') else {'cuda'}


@OPTIMIZERS.register_module()
class FusedAdamW(torch.optim.AdamW):
    """torch's AdamW, in one pass over the memory (``fused=True``) where torch has that for the device.

    Args:
        params: Parameters or groups of them.
        **kwargs: Of ``torch.optim.AdamW``.
    """

    def __init__(self, params, **kwargs):
        params = list(params)
        groups = params if isinstance(params[0], dict) else [dict(params=params)]
        groups = [dict(group, params=_as_list(group['params'])) for group in groups]
        devices = {parameter.device.type for group in groups for parameter in group['params']}
        super().__init__(groups, fused=devices <= FUSED_DEVICES or None, **kwargs)


def _as_list(params) -> list:
    return [params] if isinstance(params, torch.Tensor) else list(params)
