"""Costs of a training step that can be counted on a CPU: floating-point operations, memory traffic and activations."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# Before torch 2.2, the registry had another name, and its formulas took shapes.
REGISTRY = getattr(flop_counter, 'flop_registry', None)
FORMULAS = REGISTRY or flop_counter.flop_mapping


class Flops(TorchDispatchMode):
    """Counts the floating-point operations of products, matrix products and attention, and the traffic of the rest.

    A multiplication and an addition count as two operations. The formulas are torch's. torch's own
    ``FlopCounterMode`` raises an error for ``torch.autograd.grad``, which an attack needs.

    Attributes:
        total: Operations so far.
        moved: Bytes that all other operations, which are bound by memory, have read and written so far.
    """

    def __init__(self):
        super().__init__()
        self.total = self.moved = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if op is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return 1  # A fake tensor has no value. All checks of a step pass with this one.
        out = op(*args, **kwargs)
        formula = FORMULAS.get(op._overloadpacket)
        if formula and REGISTRY:
            self.total += formula(*args, **kwargs, out_val=out)
        elif formula:
            shapes, options, shape = tree_map(_shape, (args, kwargs, out))
            self.total += formula(*shapes, **options, out_shape=shape)
        elif 'attention_for_cpu_backward' in str(op):
            self.total += flop_counter.sdpa_backward_flop_count(*map(_shape, args[:4]))
        elif 'attention_for_cpu' in str(op):
            self.total += flop_counter.sdpa_flop_count(*map(_shape, args[:3]))
        else:
            self.moved += _traffic(op, (args, kwargs), out)
        return out


def _traffic(op, arguments, out) -> int:
    """Count the bytes that an operation reads and writes; a view moves nothing."""
    read, written = (
        [value for value in tree_flatten(part)[0] if isinstance(value, torch.Tensor)] for part in (arguments, out)
    )
    storages = [{value.untyped_storage()._cdata for value in part} for part in (read, written)]
    is_view = bool(storages[0] & storages[1]) and not op._schema.is_mutable
    if is_view or op.namespace != 'aten' or 'empty' in op._schema.name:
        return 0
    # An expanded tensor is read once.
    return sum(min(value.nbytes, value.untyped_storage().nbytes()) for value in read + written)


def _shape(value):
    return value.shape if isinstance(value, torch.Tensor) else value


class _Saved:
    def __init__(self, value):
        self.value = value


@dataclass
class Cost:
    """The costs of one training step.

    Attributes:
        flops: Floating-point operations of products in the forward and backward passes.
        moved: Bytes that the other operations read and write.
        kept: Bytes that autograd keeps from the forward to the backward pass, without parameters.
    """

    flops: int
    moved: int
    kept: int


def cost_of(loss: Callable[[], torch.Tensor], parameters: Iterable[torch.Tensor]) -> Cost:
    """Run a forward and a backward pass in bfloat16 autocast, and count their costs.

    Args:
        loss: A function that runs the forward pass and returns the loss, a scalar. An attack inside adds to
            ``flops`` and ``moved``, but not to ``kept``: its activations are freed when it ends.
        parameters: The parameters of the model.
    """
    boxes, owned = weakref.WeakSet(), {value.untyped_storage()._cdata for value in parameters}

    def keep(value):
        box = _Saved(value)
        boxes.add(box)
        return box

    with Flops() as flops:
        with (
            torch.autocast('cpu', torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda box: box.value),
        ):
            total = loss()
        storages = [box.value.untyped_storage() for box in boxes]
        kept = {storage._cdata: storage.nbytes() for storage in storages if storage._cdata not in owned}
        del storages
        total.backward()
    return Cost(flops.total, flops.moved, sum(kept.values()))


def largest_share(groups: Iterable[Iterable[int]], ranks: int) -> int:
    """Return the size of the largest share when parameters are divided among processes.

    Each parameter in turn, of each group the largest first, goes to the process with the least so far. torch's
    ``ZeroRedundancyOptimizer`` does so.

    Args:
        groups: Sizes of the parameters of each group of the optimizer, in any unit.
        ranks: Number of processes.
    """
    held = [0] * ranks
    for sizes in groups:
        for size in sorted(sizes, reverse=True):
            held[held.index(min(held))] += size
    return max(held)
