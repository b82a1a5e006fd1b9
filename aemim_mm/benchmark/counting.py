"""What a training step costs, counted on a CPU: FLOPs, and activations that are kept."""

import weakref
from dataclasses import dataclass

import torch
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

# Before torch 2.2, the formulas had another name, and took shapes.
REGISTRY = getattr(flop_counter, 'flop_registry', None)
FORMULAS = REGISTRY or flop_counter.flop_mapping


class Flops(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and attention, an addition and a product as two.

    By torch's own formulas; but torch's ``FlopCounterMode`` refuses ``torch.autograd.grad`` inside, hence an attack.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
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
        return out


def _shape(value):
    return value.shape if isinstance(value, torch.Tensor) else value


class _Kept:
    def __init__(self, value):
        self.value = value


@dataclass
class Cost:
    """Of one training step."""

    flops: int
    kept: int  # Bytes that the forward pass leaves for the backward pass, beside parameters.


def cost_of(loss, parameters) -> Cost:
    """Run a step in bfloat16 autocast, and count.

    Args:
        loss: Gives the loss, a scalar, from a forward pass; an attack's own passes inside are counted too, but what
            they keep is gone at the end.
        parameters: Those of the model.
    """
    boxes, owned = weakref.WeakSet(), {value.untyped_storage().data_ptr() for value in parameters}

    def keep(value):
        box = _Kept(value)
        boxes.add(box)
        return box

    with Flops() as flops:
        with (
            torch.autocast('cpu', torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda box: box.value),
        ):
            total = loss()
        storages = [box.value.untyped_storage() for box in boxes]
        kept = {storage.data_ptr(): storage.nbytes() for storage in storages if storage.data_ptr() not in owned}
        del storages
        total.backward()
    return Cost(flops.total, sum(kept.values()))


def largest_share(sizes, ranks: int) -> int:
    """The most that one of ``ranks`` processes holds, if each parameter in turn goes to the one with the least."""
    held = [0] * ranks
    for size in sizes:
        held[held.index(min(held))] += size
    return max(held)
