"""Mixed precision without loss scaling."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import autocast


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
