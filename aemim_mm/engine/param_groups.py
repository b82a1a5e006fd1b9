"""Few parameter groups: an optimizer works group by group, and mmengine makes one for each parameter."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..errors import UserError

# The key of a merged group for the numbers of the groups that the default constructor makes of its parameters.
NUMBERS = 'merged_from'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, which merges parameter groups with equal settings.

    A fused optimizer starts kernels for each group, so two groups take less time of the host than hundreds. Updates are
    the same, bit for bit. With ``clip_grad``, the norms of the gradients are added in another order.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Add the parameters of a module to ``params``, a list of groups."""
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:  # mmengine calls this method for each submodule, too.
            params[:] = merged(params)


def merged(groups: list[dict]) -> list[dict]:
    """Merge groups of one parameter that have equal settings, in the order in which these first occur."""
    kinds, members = [], []
    for number, group in enumerate(groups):
        settings = {name: value for name, value in group.items() if name != 'params'}
        if settings not in kinds:
            kinds.append(settings)
            members.append([])
        members[kinds.index(settings)].append(number)
    return [
        {**kind, 'params': [groups[number]['params'][0] for number in numbers], NUMBERS: numbers}
        for kind, numbers in zip(kinds, members)
    ]


def regroup(checkpoint: dict, wrapper: object) -> None:
    """Convert a checkpoint to the groups of an optimizer, merged or one for each parameter, in place.

    The optimizer's state follows its parameter. The base values of a schedule follow their group.

    Args:
        checkpoint: A checkpoint of mmengine's Runner.
        wrapper: The wrapper of the optimizer that is to load it.

    Raises:
        UserError: The groups have other parameters, or parameters of one group have different settings in the
            checkpoint.
    """
    saved = checkpoint.get('optimizer') or {}
    if not isinstance(wrapper, OptimWrapper) or 'param_groups' not in saved:
        return
    old, new = saved['param_groups'], wrapper.optimizer.param_groups
    before, after = _numbers(old), _numbers(new)
    if before == after:
        return
    index = {number: id_ for group, numbers in zip(old, before) for number, id_ in zip(numbers, group['params'])}
    if sorted(index) != sorted(sum(after, [])):
        raise UserError(
            f'The checkpoint has {len(old)} parameter groups, which are not those of the {len(new)} groups of this '
            'config. Resume with the optim_wrapper.constructor and paramwise_cfg that the checkpoint was made with.'
        )
    home = {number: position for position, numbers in enumerate(before) for number in numbers}
    sources = [_source(old, {home[number] for number in numbers}) for numbers in after]
    place = {index[number]: position for position, number in enumerate(sum(after, []))}
    saved['state'] = {place[id_]: state for id_, state in saved['state'].items()}
    saved['param_groups'] = [
        {**old[source], NUMBERS: numbers, 'params': [place[index[number]] for number in numbers]}
        for source, numbers in zip(sources, after)
    ]
    for scheduler in checkpoint.get('param_schedulers') or ():
        _reorder(scheduler, sources, len(old))


def _numbers(groups: list[dict]) -> list[list[int]]:
    return [group.get(NUMBERS, [position]) for position, group in enumerate(groups)]


def _source(groups: list[dict], positions: set[int]) -> int:
    """Check that these groups have equal settings; return the position of the first."""
    first = min(positions)
    for position in sorted(positions):
        for name, value in groups[first].items():
            other = groups[position].get(name)
            if name not in ('params', NUMBERS) and other != value:
                raise UserError(
                    f'The checkpoint has {name}={value} and {name}={other} for parameters that have equal '
                    'settings in this config. Resume with the paramwise_cfg that the checkpoint was made with.'
                )
    return first


def _reorder(scheduler: dict[str, Any], sources: list[int], count: int) -> None:
    """Take the values of the groups ``sources`` from the lists of a schedule, which have a value for each group.

    Beside several groups, mmengine schedules one more, which has the base learning rate.
    """
    for name in ('base_values', '_last_value', 'min_values'):
        if isinstance(values := scheduler.get(name), list):
            scheduler[name] = [values[source] for source in sources] + values[count:]
