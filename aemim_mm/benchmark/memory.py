"""The peak memory of a training step."""

import ctypes
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Make this process keep freed memory for later allocations, as torch does on CUDA.

    By default, glibc returns large blocks to the system, which clears each page of a new block. The time for that
    depends on earlier allocations, so it would disturb a comparison.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def resident_bytes(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of weights, buffers and optimizer states, which stay allocated between two steps."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [*model.parameters(), *model.buffers(), *states]
    kept = {value.untyped_storage().data_ptr(): value for value in tensors if isinstance(value, torch.Tensor)}
    return sum(value.untyped_storage().nbytes() for value in kept.values())


def peak_allocated(step: Callable[[], object], device: torch.device) -> int:
    """Return the peak of the bytes that ``step()`` allocates, without the bytes that were allocated before.

    On CUDA, the allocator counts. Elsewhere, torch's profiler counts: it sees the tensors, but not the working memory
    of the libraries that compute them.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    trace = profiler.profiler
    assert trace is not None and trace.kineto_results is not None  # They exist once the profiler has ended.
    # profiler.events() would give the net allocation of an operator, not its single allocations.
    events = [event for event in trace.kineto_results.events() if event.name() == '[memory]']
    now = peak = 0
    for event in sorted(events, key=_moment):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def _moment(event) -> int:
    return event.start_ns() if hasattr(event, 'start_ns') else event.start_us()  # start_us: until torch 2.3
