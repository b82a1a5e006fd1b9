"""Where a loss that is not finite came from."""

import torch
from mmengine.logging import MessageHub
from torch import nn


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or NaN; raised before the optimizer could spread it to the weights."""


def non_finite_loss(model: nn.Module, losses: dict, inputs: torch.Tensor, passes: dict) -> NonFiniteLossError:
    """The error for a loss that is not finite: names the iteration, and the module where it began.

    Args:
        model: The model, with the weights that gave the loss.
        losses: Names and values of the losses.
        inputs: The images, normalised.
        passes: Name to a function that repeats that forward pass, in the order to search.
    """
    iteration = MessageHub.get_current_instance().get_info('iter', 0)
    values = ', '.join(f'{name} {value.item():g}' for name, value in losses.items())
    return NonFiniteLossError(
        f'The loss is not finite at iteration {iteration + 1} ({values}): {_origin(model, inputs, passes)}. The '
        'weights were not updated, and all checkpoints are kept. Go on from the last one with --resume, after lowering '
        'optim_wrapper.optimizer.lr, setting optim_wrapper.clip_grad, or training in bfloat16 rather than float16.'
    )


@torch.no_grad()
def _origin(model, inputs, passes) -> str:
    if not torch.isfinite(inputs).all():
        return 'the images themselves hold such values'
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return f'the weights hold such values, first in {name}'
    for name, run in passes.items():
        found = _first_non_finite_module(model, run)
        if found:
            return f'it began in {found}, in the {name} pass'
    return 'no module gives such values when the step is repeated'


def _first_non_finite_module(model, run) -> str | None:
    found = []

    def check(name):
        def hook(_module, _args, output):
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            floats = (value for value in outputs if isinstance(value, torch.Tensor) and value.is_floating_point())
            if not all(torch.isfinite(value).all() for value in floats):
                found.append(name)

        return hook

    # Hooks fire when a module ends, so the first to fire is the innermost one that is broken.
    handles = [module.register_forward_hook(check(name or 'the model')) for name, module in model.named_modules()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
