"""Find the module in which a loss that is not finite began."""

import torch
from mmengine.logging import MessageHub
from torch import nn

from ..domain import Domain, use_domain
from ..replay import Pass


class NonFiniteLossError(RuntimeError):
    """A loss is infinite or NaN. It is raised before the optimizer can spread the value to the weights."""


def check_finite(model: nn.Module, clean: Pass, adv: Pass) -> None:
    """Check both losses of a step.

    The check waits for the device once a step, as mmengine's logging does. After the optimizer's step, it would be too
    late for the weights.

    Args:
        model: The model, with the weights that gave the losses.
        clean, adv: The two passes.

    Raises:
        NonFiniteLossError: Names the iteration, the losses, and the module where the value began.
    """
    if torch.isfinite(clean.loss + adv.loss):
        return
    iteration = MessageHub.get_current_instance().get_info('iter', 0)
    raise NonFiniteLossError(
        f'The loss is not finite at iteration {iteration + 1} (loss_clean {clean.loss.item():g}, loss_adv '
        f'{adv.loss.item():g}): {_origin(model, clean, adv)}. The weights were not updated, and all checkpoints are '
        'kept. Resume from the last one with --resume, after lowering optim_wrapper.optimizer.lr, setting '
        'optim_wrapper.clip_grad, or training in bfloat16 rather than float16.'
    )


@torch.no_grad()
def _origin(model, clean: Pass, adv: Pass) -> str:
    if not torch.isfinite(clean.images).all():
        return 'the images themselves hold such values'
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            return f'the weights hold such values, first in {name}'
    for name, domain, step in (('clean', Domain.CLEAN, clean), ('adversarial', Domain.ADV, adv)):
        with use_domain(model, domain):
            found = _first_non_finite_module(model, step)
        if found:
            return f'it began in {found}, in the {name} pass'
    return 'no module gives such values when the step is repeated'


def _first_non_finite_module(model, step: Pass) -> str | None:
    found = []

    def check(name):
        def hook(_module, _args, output):
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            floats = (value for value in outputs if isinstance(value, torch.Tensor) and value.is_floating_point())
            if not all(torch.isfinite(value).all() for value in floats):
                found.append(name)

        return hook

    # Hooks fire when a module ends, so the first to fire is the innermost module that is broken.
    handles = [module.register_forward_hook(check(name or 'the model')) for name, module in model.named_modules()]
    try:
        step.again(step.images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
