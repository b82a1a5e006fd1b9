"""Training state spread over the processes: what works, how its shards come together, and what is refused."""

from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import ZeroRedundancyOptimizer


def is_sharded(wrapper) -> bool:
    """Whether each process holds a part of the optimizer's state (ZeRO-1)."""
    return isinstance(wrapper, OptimWrapper) and isinstance(wrapper.optimizer, ZeroRedundancyOptimizer)


def gathered_state(wrapper) -> dict | None:
    """The whole state of a sharded optimizer, as the unsharded one would save it; None for one that is not sharded.

    All ranks have to call it. mmengine calls it where it saves, on the first rank alone, which then waits for ever.

    Returns:
        The state, on the CPU, on rank 0; on the others, what is left of it.
    """
    return wrapper.state_dict() if is_sharded(wrapper) else None


def drop_second_copy(wrapper) -> None:
    """After loading, torch keeps a rank's part twice: in the optimizer that works, and around it, never used again."""
    if is_sharded(wrapper):
        wrapper.optimizer.state.clear()
