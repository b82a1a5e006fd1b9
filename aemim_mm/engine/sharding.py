"""Training state spread over the processes: what works, how its shards come together, and what is refused.

ZeRO-1 (torch's ``ZeroRedundancyOptimizer``, which mmengine registers) works; what else mmengine has does not, and the
error says so before training. The evidence is in docs/scaling.md.
"""

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.optim.optimizer import ZeroRedundancyOptimizer

from ..errors import UserError

ZERO = 'ZeroRedundancyOptimizer'
REFUSED = {
    'FSDPStrategy': 'its checkpoints are neither whole nor resumed exactly, and torch 2.1 cannot run it without a GPU',
    'MMFullyShardedDataParallel': "mmengine's Runner saves only the first rank's shard of it",
    'DeepSpeedStrategy': 'it was never tried with this method (DeepSpeed needs a CUDA compiler)',
    'ColossalAIStrategy': 'it was never tried with this method (Colossal-AI needs GPUs)',
}
FLEXIBLE = 'its model exists only in training, so nothing is checked before, and its checkpoints are not exact'


def refusal(name: str, reason: str) -> UserError:
    """The error for a kind of sharding that does not work here."""
    return UserError(
        f'{name} is not supported: {reason}. Leave runner_type, strategy and model_wrapper_cfg out: the processes then '
        f'share the work by DDP. For less memory, spread the optimizer over them with --cfg-options '
        f'optim_wrapper.optimizer.type={ZERO} optim_wrapper.optimizer.optimizer_type=AdamW, and take bfloat16 (--amp); '
        'see docs/scaling.md, Sharding.'
    )


def check_strategy(cfg: Config) -> None:
    """Refuse the runner, strategies and wrappers of mmengine that do not work with this project.

    Raises:
        UserError: The config asks for one of them.
    """
    strategy = cfg.get('strategy') or {}
    names = [_kind(part) for part in (strategy, cfg.get('model_wrapper_cfg'))]
    for name in names:
        if name in REFUSED:
            raise refusal(name, REFUSED[name])
    if strategy or cfg.get('runner_type') == 'FlexibleRunner':
        raise refusal('FlexibleRunner', FLEXIBLE)


def check_optimizer(cfg: Config) -> None:
    """Refuse a sharded optimizer where it would fail or wait for ever.

    Raises:
        UserError: It has no optimizer to shard, one process, or a checkpoint hook that saves on one rank.
    """
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if _kind(optimizer) != ZERO:
        return
    inner = optimizer.get('optimizer_type')
    if not isinstance(inner, str) or not isinstance(getattr(torch.optim, inner, None), type):
        raise UserError(
            f'{ZERO} shards an optimizer of torch.optim, but got {inner!r}. Set '
            'optim_wrapper.optimizer.optimizer_type, for instance to AdamW.'
        )
    if cfg.get('launcher', 'none') == 'none':
        raise UserError(
            f'{ZERO} spreads the state of the optimizer over processes, but there is only one. Start several with '
            f'tools/dist_train.sh CONFIG 2, or name the optimizer itself: type={inner!r}.'
        )
    hook = (cfg.get('default_hooks') or {}).get('checkpoint', dict(type='CheckpointHook'))
    if _kind(hook) == 'CheckpointHook':
        raise UserError(
            f"mmengine's CheckpointHook saves on the first rank alone, which waits for ever for the shards of {ZERO}. "
            "Set default_hooks.checkpoint.type='SafeCheckpointHook', and leave exact_resume=False out."
        )


def _kind(part) -> str | None:
    kind = part.get('type') if part else None
    return kind.split('.')[-1] if isinstance(kind, str) else getattr(kind, '__name__', None)


def is_sharded(wrapper) -> bool:
    """Whether each process holds a part of the optimizer's state (ZeRO-1)."""
    return isinstance(wrapper, OptimWrapper) and isinstance(wrapper.optimizer, ZeroRedundancyOptimizer)


def gathered_state(wrapper) -> dict | None:
    """The whole state of a sharded optimizer, as the unsharded one would save it; None for one that is not sharded.

    All ranks have to call it. mmengine calls it where it saves, on the first rank alone, which then waits for ever.

    Returns:
        The state, on the CPU, on rank 0; on the others, nothing of use.
    """
    return wrapper.state_dict() if is_sharded(wrapper) else None


def drop_second_copy(wrapper) -> None:
    """After loading, torch keeps a rank's part twice: in the optimizer that works, and around it, never used again."""
    if is_sharded(wrapper):
        wrapper.optimizer.state.clear()
