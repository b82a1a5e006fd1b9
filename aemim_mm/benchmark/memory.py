"""The most memory that a training step takes."""

import ctypes

import torch
from torch.profiler import ProfilerActivity, profile

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have this process keep freed memory for its next allocations, as torch does on CUDA.

    glibc gives it back to the system, which clears it anew page by page: a cost that depends on what ran before.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def resident_bytes(model: torch.nn.Module, optimizer) -> int:
    """Of weights, buffers and optimizer states, between two steps."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [*model.parameters(), *model.buffers(), *states]
    kept = {value.untyped_storage().data_ptr(): value for value in tensors if isinstance(value, torch.Tensor)}
    return sum(value.untyped_storage().nbytes() for value in kept.values())


def most_allocated(step, device: torch.device) -> int:
    """Bytes that ``step()`` allocates at most at one time, beyond what is there when it begins.

    From the allocator on CUDA; elsewhere from torch's profiler, which sees each allocation of a tensor, but not the
    working memory of the libraries below.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    # Not events(), which adds up what an operator allocates and frees.
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    now = most = 0
    for event in sorted(events, key=_moment):
        now += event.nbytes()
        most = max(most, now)
    return most


def _moment(event) -> int:
    return event.start_ns() if hasattr(event, 'start_ns') else event.start_us()  # the latter up to torch 2.3
