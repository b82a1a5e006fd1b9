"""Mixed precision: cached weights, early gradients, and the precision of the backward passes inside a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from ...models.precision import autocast_dtype
from ..candidates import Candidate
from .devices import SAME_DEVICE
from .rows import Row, at_most, equal
from .steps import Setup, distance, take_step


def weight_cache(setup: Setup) -> Iterator[Row]:
    """Compare the gradients with and without autocast's cache of cast weights.

    The attack runs while no weight requires a gradient. A weight that was cast then must not serve the adversarial
    pass: it would get no gradient.
    """
    candidate = setup.candidate(setup.config)
    cached = take_step(candidate)
    with without_weight_cache():
        fresh = take_step(candidate)
    yield equal('gradients that only the cache loses', len({*cached.missing} - {*fresh.missing}), 0)
    limit = SAME_DEVICE[setup.precision]
    yield at_most('gradients: relative difference', distance(cached.gradients, fresh.gradients), limit)


@contextmanager
def without_weight_cache() -> Iterator[None]:
    """Inside, ``torch.autocast`` casts a weight each time that it is used."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def early_backward(setup: Setup) -> Iterator[Row]:
    """Compare the gradients with and without ``early_backward``, and look at autocast in backward passes.

    Up to torch 2.4, a backward pass on CUDA inside autocast computes in float16, whatever the type of autocast.
    """
    for precision in dict.fromkeys(('float32', setup.precision)):
        candidate = setup.candidate(setup.config, precision=precision)
        with backward_types(candidate) as types:
            early = take_step(candidate)
        cast(Any, candidate.model).early_backward = False
        joint = take_step(candidate)
        limit = SAME_DEVICE[precision]
        apart = distance(early.gradients, joint.gradients)
        yield at_most(f'gradients in {precision}: relative difference', apart, limit)
        names = ', '.join(sorted({str(kind).removeprefix('torch.') for kind in types if kind})) or 'off'
        yield equal(f'autocast in {len(types)} backward passes, {precision}', names, 'off')


@contextmanager
def backward_types(candidate: Candidate) -> Iterator[list]:
    """Yield a list that grows by the type of autocast, or None, whenever a gradient arrives at the encoder's output."""
    found, model = [], cast(Any, candidate.model)

    def watch(_module, _args, output):
        features = model.features(output)
        if features.requires_grad:
            kind = features.device.type
            features.register_hook(lambda _gradient: found.append(autocast_dtype(kind)))

    handle = model.backbone.register_forward_hook(watch)
    try:
        yield found
    finally:
        handle.remove()
