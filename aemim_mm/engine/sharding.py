"""Training state that is sharded over processes: which kinds work, and how the shards are collected.

ZeRO-1 (torch's ``ZeroRedundancyOptimizer``, which mmengine registers) works. The other kinds that mmengine offers do
not work here. They are refused before training. docs/scaling.md gives the reasons.
"""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import ZeroRedundancyOptimizer

from ..errors import UserError

ZERO = 'ZeroRedundancyOptimizer'
REFUSED = {
    'FSDPStrategy': 'its checkpoints are not complete, training cannot be resumed exactly, and torch 2.1 needs a GPU',
    'MMFullyShardedDataParallel': "mmengine's Runner saves only the first rank's shard of it",
    'DeepSpeedStrategy': 'it was never tried with this method (DeepSpeed needs a CUDA compiler)',
    'ColossalAIStrategy': 'it was never tried with this method (Colossal-AI needs GPUs)',
}
FLEXIBLE = (
    'it builds the model only when training starts, so nothing can be checked before, and its checkpoints cannot be '
    'resumed exactly'
)


def refusal(name: str, reason: str) -> UserError:
    """Return the error for a kind of sharding that does not work here."""
    return UserError(
        f'{name} is not supported: {reason}. Leave runner_type, strategy and model_wrapper_cfg out: the processes then '
        'use DDP. To save memory, shard the state of the optimizer with --cfg-options '
        f'optim_wrapper.optimizer.type={ZERO} optim_wrapper.optimizer.optimizer_type=AdamW, and use bfloat16 (--amp); '
        'see docs/scaling.md, Sharding.'
    )


def check_strategy(cfg: Config) -> None:
    """Refuse a runner, strategy or model wrapper of mmengine that does not work with this project.

    Raises:
        UserError: The config asks for one.
    """
    strategy = cfg.get('strategy') or {}
    names = [_type_name(part) for part in (strategy, cfg.get('model_wrapper_cfg'))]
    for name in names:
        if name in REFUSED:
            raise refusal(name, REFUSED[name])
    if strategy or cfg.get('runner_type') == 'FlexibleRunner':
        raise refusal('FlexibleRunner', FLEXIBLE)


def check_optimizer(cfg: Config) -> None:
    """Refuse a sharded optimizer that would fail or deadlock.

    Raises:
        UserError: ``optimizer_type`` is no optimizer of torch, there is only one process, or the checkpoint hook saves
            on one rank alone.
    """
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if _type_name(optimizer) != ZERO:
        return
    inner = optimizer.get('optimizer_type')
    if not isinstance(inner, str) or not isinstance(getattr(torch.optim, inner, None), type):
        raise UserError(
            f'{ZERO} shards an optimizer of torch.optim, but got {inner!r}. Set '
            'optim_wrapper.optimizer.optimizer_type, for instance to AdamW.'
        )
    if cfg.get('launcher', 'none') == 'none':
        raise UserError(
            f'{ZERO} shards the state of the optimizer over processes, but there is only one. Start several with '
            f'tools/dist_train.sh CONFIG 2, or use the optimizer itself: type={inner!r}.'
        )
    hook = (cfg.get('default_hooks') or {}).get('checkpoint', dict(type='CheckpointHook'))
    if _type_name(hook) == 'CheckpointHook':
        raise UserError(
            f"mmengine's CheckpointHook saves on the first rank alone, which waits for ever for the shards of {ZERO}. "
            "Set default_hooks.checkpoint.type='SafeCheckpointHook', and leave exact_resume=False out."
        )


def _type_name(part: dict | None) -> str | None:
    """The name of the class that a part of a config asks for."""
    kind = part.get('type') if part else None
    return kind.split('.')[-1] if isinstance(kind, str) else getattr(kind, '__name__', None)


def is_sharded(wrapper: object) -> bool:
    """Return whether each process holds only a shard of the optimizer's state (ZeRO-1)."""
    return isinstance(wrapper, OptimWrapper) and isinstance(wrapper.optimizer, ZeroRedundancyOptimizer)


def gathered_state(wrapper: Any) -> dict | None:
    """Collect the state of a sharded optimizer on rank 0.

    All ranks have to call this: it communicates. mmengine calls ``state_dict`` on the first rank alone, which then
    waits for ever.

    Returns:
        On rank 0, the state on the CPU, as the optimizer without sharding would save it. On other ranks, a state
        without meaning. None if the optimizer is not sharded.
    """
    return wrapper.state_dict() if is_sharded(wrapper) else None


def drop_second_copy(wrapper: Any) -> None:
    """Free memory after a sharded optimizer has loaded its state.

    torch keeps the shard twice: in the inner optimizer, which uses it, and in ``ZeroRedundancyOptimizer.state``, which
    nothing reads.
    """
    if is_sharded(wrapper):
        wrapper.optimizer.state.clear()
