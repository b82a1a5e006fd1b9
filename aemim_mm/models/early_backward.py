"""Take a loss's gradients at once, so that its activations are freed, and give them back in the backward pass."""

import torch
from torch.autograd.function import once_differentiable

from .precision import autocast_dtype


def take_gradients(loss: torch.Tensor, parameters):
    """Compute the gradients of ``loss`` now, and free its graph.

    Nothing is accumulated in ``grad``, nor are DDP's hooks called. The gradients come with the ordinary backward pass,
    scaled by what reaches ``loss`` there: so accumulation, clipping and DDP see what they would have seen.

    Args:
        loss: A scalar.
        parameters: Those that are trained.

    Returns:
        A function without arguments that gives the loss again, to be called when all other passes are made: autograd
        then goes through them last, and DDP sends the gradients of a layer as soon as they are complete.
    """
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    used = [pair for pair in zip(parameters, gradients) if pair[1] is not None]
    parameters, gradients, value = [pair[0] for pair in used], [pair[1] for pair in used], loss.detach()
    return lambda: _Given.apply(value, gradients, *parameters)


# By name: not every torch has both.
SHARDED = {'FullyShardedDataParallel', 'FSDPModule'}


def can_take_gradients(loss: torch.Tensor, model: torch.nn.Module) -> bool:
    """Whether :func:`take_gradients` is right here.

    Not with float16, whose gradients are lost where the loss is not scaled. Nor with FSDP, which computes with other
    tensors than the model's parameters, and sends gradients from one to the other by hooks: some would be lost.
    """
    return (
        loss.requires_grad
        and autocast_dtype(loss.device.type) is not torch.float16
        # Where FSDP wraps the model as a whole, this sees views; where it wraps parts, modules of its kind.
        and all(parameter.is_leaf for parameter in model.parameters())
        and not any(kind.__name__ in SHARDED for module in model.modules() for kind in type(module).__mro__)
    )


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, gradients, *parameters):
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, scale):
        if ctx.gradients is None:
            raise RuntimeError(
                'These gradients were given already: with early_backward, a loss has one backward pass. To go back a '
                'second time (retain_graph=True), set model.early_backward=False.'
            )
        gradients, ctx.gradients = ctx.gradients[::-1], None
        if scale.device.type == 'cpu' and scale == 1:  # On an accelerator, to look would be to wait.
            return None, None, *gradients[::-1]
        # One by one, so that there is never a second copy of all.
        return None, None, *(gradients.pop() * scale for _ in range(len(gradients)))
