"""Refuse tensors that cannot be weights."""

import torch

from ..errors import UserError

# These hold numbers that are counted or computed, not learnt.
COUNTED = ('num_batches_tracked', 'relative_position_index', 'position_ids', 'attn_mask')


def refuse_faulty(state: dict, path: object, model: torch.nn.Module | None = None) -> None:
    """Check that tensors are dense, of floating-point numbers and finite.

    Args:
        state: Names and tensors.
        path: The file, for messages.
        model: The model that will load them. It says which of its buffers hold integers; other buffers may be infinite,
            as a mask is. Default: ``COUNTED`` says so.

    Raises:
        UserError: One is not; the message names it.
    """
    own = None if model is None else model.state_dict()
    learnt = None if model is None else {name for name, _ in model.named_parameters()}
    for name, value in state.items():
        counted = name.endswith(COUNTED) if own is None else not own[name].is_floating_point()
        statistics = name.rpartition('.')[2].startswith('running_')
        finite = learnt is None or name in learnt or statistics
        fault = _fault(value, counted, finite)
        if fault:
            raise UserError(
                f'{path}: the tensor {name} {fault}. Expected weights: dense, finite, floating-point numbers.'
            )


def _fault(value: torch.Tensor, counted: bool, finite: bool) -> str | None:
    """Describe why a tensor cannot be weights, as the end of a sentence; None if it can."""
    if value.is_meta:
        return 'has no data (device meta)'
    if value.layout != torch.strided or value.is_nested:
        return f'is sparse ({value.layout})'
    if value.is_quantized:
        return f'is quantized ({value.dtype})'
    if value.is_complex():
        return f'is complex ({value.dtype})'
    if counted:
        return None
    if not value.is_floating_point():
        return f'has integers ({value.dtype})'
    value = value if value.dtype == torch.float64 else value.float()
    # The norm is the fastest pass without a copy. It may overflow where no value is infinite.
    if finite and not torch.linalg.vector_norm(value).isfinite() and not value.isfinite().all():
        return 'has NaN or infinite values'
    return None
