"""Take a loss's gradients early, so that its activations are freed, and return them in the backward pass."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch.autograd.function import once_differentiable

from ..attacks import gradients_of
from .precision import autocast_dtype


def take_gradients(loss: torch.Tensor, parameters: Iterable[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Compute the gradients of ``loss`` now, and free its graph.

    The gradients are not accumulated in ``grad``, and no hook of DDP is called. They arrive in the ordinary backward
    pass, multiplied by the gradient that reaches ``loss`` there. So accumulation, clipping and DDP work as usual.

    Args:
        loss: A scalar.
        parameters: The parameters of the model.

    Returns:
        A function without arguments that returns the loss with its gradients attached. Call it after all other passes:
        autograd then visits the loss last, and DDP sends the gradients of a layer as soon as they are complete.
    """
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = gradients_of(loss, parameters, allow_unused=True)
    used = [pair for pair in zip(parameters, gradients) if pair[1] is not None]
    parameters, gradients, value = [pair[0] for pair in used], [pair[1] for pair in used], loss.detach()
    return lambda: cast(torch.Tensor, _WithGradients.apply(value, gradients, *parameters))


# Compared by name, since not every torch has both classes.
SHARDED = {'FullyShardedDataParallel', 'FSDPModule'}


def can_take_gradients(loss: torch.Tensor, model: torch.nn.Module) -> bool:
    """Whether :func:`take_gradients` gives the right gradients.

    It does not in float16, where gradients underflow without loss scaling. It does not under FSDP, which computes with
    other tensors than the model's parameters and moves gradients between them by hooks: some gradients would be lost.
    """
    return (
        loss.requires_grad
        and autocast_dtype(loss.device.type) is not torch.float16
        # FSDP around the whole model shows as parameters that are views; around parts, as modules of its class.
        and all(parameter.is_leaf for parameter in model.parameters())
        and not has_sharded_weights(model)
    )


def has_sharded_weights(model: torch.nn.Module) -> bool:
    """Whether each process holds only a shard of the weights: FSDP is the model itself, or around parts of it."""
    return any(kind.__name__ in SHARDED for module in model.modules() for kind in type(module).__mro__)


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, gradients, *parameters):
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, scale):
        if ctx.gradients is None:
            raise RuntimeError(
                'The gradients of this loss were used already: with early_backward, a loss has one backward pass. To '
                'call backward a second time (retain_graph=True), set model.early_backward=False.'
            )
        gradients, ctx.gradients = ctx.gradients[::-1], None
        if scale.device.type == 'cpu' and scale == 1:  # On an accelerator, the comparison would wait for the device.
            return None, None, *gradients[::-1]
        # One gradient at a time, so that there is never a second copy of all.
        return None, None, *(gradients.pop() * scale for _ in range(len(gradients)))
