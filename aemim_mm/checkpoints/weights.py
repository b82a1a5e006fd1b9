"""Find the weights in a checkpoint, whatever wraps them."""

import re
from typing import NamedTuple

import torch

from ..errors import UserError, first_of

# Where libraries keep the weights of the model that they train.
USUAL = ('state_dict', 'model')
# What DistributedDataParallel and torch.compile add to names, alone or before every part that was wrapped.
WRAPPERS = re.compile(r'^(module\.)+|(?<![^.])_orig_mod\.')
CHOOSE = 'Choose one with CHECKPOINT#NAME, as in {path}#{name}.'
# These hold numbers that are counted or computed, not learnt.
COUNTED = ('num_batches_tracked', 'relative_position_index', 'position_ids', 'attn_mask')


class Weights(NamedTuple):
    """The weights in a checkpoint.

    Attributes:
        state: Names and tensors.
        left_out: Other entries of the checkpoint, each with the reason.
        removed: What was removed from the names, for the log; '' if they are unchanged.
    """

    state: dict[str, torch.Tensor]
    left_out: dict[str, str]
    removed: str = ''


def weights_of(checkpoint: dict, path: object = 'the checkpoint') -> Weights:
    """Return the weights in a checkpoint.

    They are the tensors of ``state_dict`` or ``model``, of the only dict that holds tensors, or of the checkpoint
    itself. ``module.`` and ``_orig_mod.`` are removed from the names, and so is a prefix that all names share and that
    stands before ``backbone.``.

    Args:
        checkpoint: The content of a file.
        path: The file, for messages.

    Raises:
        UserError: Several dicts hold tensors, and none has a usual name, as with DINO's ``student`` and ``teacher``; or
            a tensor cannot be weights: it is sparse, quantized, complex, without data, not finite, or of integers.
    """
    key, left_out = _key(checkpoint, path)
    content = checkpoint[key] if key else checkpoint
    left_out |= {str(name): 'no tensor' for name, value in content.items() if not isinstance(value, torch.Tensor)}
    state = {WRAPPERS.sub('', str(name)): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    wrapped = any(WRAPPERS.search(str(name)) for name in content)
    removed = ['module. or _orig_mod.'] if wrapped else []
    prefix = _prefix(state)
    if prefix:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        removed.append(prefix)
    for name, value in state.items():
        fault = fault_of(name, value)
        if fault:
            raise UserError(f'{path}: the tensor {name} {fault}. Expected weights: dense floating-point numbers.')
    return Weights(state, left_out, ' and '.join(removed))


def _key(checkpoint: dict, path) -> tuple[str | None, dict]:
    """Return the key of the dict that holds the weights, if one does, and what stays out."""
    holders = [key for key, value in checkpoint.items() if isinstance(value, dict) and _holds_tensors(value)]
    usual = [key for key in USUAL if isinstance(checkpoint.get(key), dict)]
    if not usual and _holds_tensors(checkpoint):
        return None, {}
    if not usual and len(holders) > 1:
        raise UserError(
            f'{path} holds several sets of weights: {first_of(holders)}. {CHOOSE.format(path=path, name=holders[0])}'
        )
    key = next(iter(usual + holders), None)
    if key is None:
        return None, {}
    others = {name: 'the state of a training, no weights' for name in map(str, checkpoint) if name != key}
    choose = f'other weights: to take them, use CHECKPOINT#NAME, as in {path}#'
    others |= {name: choose + name for name in holders if name not in (key, 'optimizer')}
    if 'ema_state_dict' in others:
        others['ema_state_dict'] = "not the average, which mmengine's EMAHook puts into state_dict"
    return key, others


def _holds_tensors(content: dict) -> bool:
    return any(isinstance(value, torch.Tensor) for value in content.values())


def _prefix(state: dict) -> str:
    """Return the prefix that all names share, if it stands before ``backbone.`` in one of them."""
    found = {name.split('backbone.')[0] for name in state if re.search(r'(^|\.)backbone\.', name)}
    prefix = next(iter(found)) if len(found) == 1 else ''
    return prefix if all(name.startswith(prefix) for name in state) else ''


def select(content: dict, name: str, path: object) -> dict:
    """Return one set of weights of a checkpoint: a dict in it, or the tensors whose names begin with ``name.``.

    Raises:
        UserError: There is neither.
    """
    if isinstance(content.get(name), dict):
        return content[name]
    state = content[_key(content, path)[0]] if _key(content, path)[0] else content
    found = {key.removeprefix(f'{name}.'): value for key, value in state.items() if str(key).startswith(f'{name}.')}
    if not found:
        raise UserError(f'{path} has no {name!r}, only {first_of(map(repr, content), 8)}.')
    return found


def fault_of(name: str, value: torch.Tensor) -> str | None:
    """Describe why a tensor cannot be weights, as the end of a sentence; None if it can."""
    if value.is_meta:
        return 'has no data (device meta)'
    if value.layout != torch.strided:
        return f'is sparse ({value.layout})'
    if value.is_quantized:
        return f'is quantized ({value.dtype})'
    if value.is_complex():
        return f'is complex ({value.dtype})'
    if not value.is_floating_point():
        return None if name.endswith(COUNTED) else f'has integers ({value.dtype})'
    # A sum is one pass without a copy. It may overflow where no value is infinite.
    if not value.sum(dtype=torch.float32).isfinite() and not value.float().isfinite().all():
        return 'has NaN or infinite values'
    return None
