"""Gradients that are taken inside the forward pass, hence under the training's autocast."""

from collections.abc import Sequence

import torch


def gradients_of(
    value: torch.Tensor, inputs: torch.Tensor | Sequence[torch.Tensor], allow_unused: bool = False
) -> tuple[torch.Tensor, ...]:
    """Call ``torch.autograd.grad`` with autocast off, as it is in the ordinary backward pass.

    Up to torch 2.4, autograd's thread of a GPU inherits that autocast is on, but not its type, and would compute in
    float16. Activation checkpointing recomputes under the autocast of the forward pass, in any case.

    Args:
        value: A scalar.
        inputs: One or more tensors that require gradients.
        allow_unused: Return None for inputs that ``value`` does not depend on.

    Source: https://github.com/pytorch/pytorch/issues/125186.
    """
    with torch.autocast(value.device.type, enabled=False):
        return torch.autograd.grad(value, inputs, allow_unused=allow_unused)
