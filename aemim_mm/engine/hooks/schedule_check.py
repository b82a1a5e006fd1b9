"""Compare the schedules with the length of the training and with the checkpoint that is resumed."""

import logging
from typing import Any, cast

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import INF
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UserError

# The settings of mmengine's schedulers that a checkpoint holds.
SETTINGS = (
    *('begin', 'end', 'by_epoch', 'T_max', 'total_iters', 'milestones', 'step_size', 'gamma', 'power'),
    *('factor', 'start_factor', 'end_factor', 'eta_min', 'eta_min_ratio'),
)
# A learning rate below this share of its initial value trains nothing.
NEGLIGIBLE = 0.01


@HOOKS.register_module()
class ScheduleCheckHook(Hook):
    """Say before training how the schedules fit its length.

    A warning names each schedule that ends after the training or never begins, a time without a schedule at the end,
    and settings of the config that a resumed training ignores, because the checkpoint holds the schedules.

    Raises:
        UserError: All schedules of a resumed training are over, and the learning rate is about zero.
    """

    def __init__(self):
        self._configured = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the settings of the config, which the checkpoint is about to replace."""
        self._configured = [_settings(scheduler) for scheduler in _schedulers(runner)] if runner._resume else None

    def before_train(self, runner: Runner) -> None:
        """Compare, and warn or raise."""
        schedulers = _schedulers(runner)
        lines = self._ignored(schedulers)
        if self._configured is not None and runner.iter >= runner.max_iters:
            lines.append(
                f'the checkpoint is at the end of the training, iteration {runner.iter} of {runner.max_iters}: nothing '
                'is left to do. To train longer, raise train_cfg.max_epochs and the end of the schedules'
            )
        elif self._configured is not None:
            _check_rate(runner, schedulers)
        lines += [line for number, each in enumerate(schedulers) if (line := _misfit(runner, number, each))]
        ends = [_in_iterations(runner, each.end, each) for each in schedulers]
        if ends and max(ends) < runner.max_iters:
            lines.append(
                f'the schedules end at iteration {max(ends)} of {runner.max_iters}: from there on, the learning rate '
                'stays as it is. Raise end and T_max of the last schedule to change this'
            )
        for line in lines:
            print_log(f'Schedule: {line}.', 'current', logging.WARNING)

    def _ignored(self, schedulers: list) -> list[str]:
        lines = []
        for number, (scheduler, configured) in enumerate(zip(schedulers, self._configured or ())):
            held = _settings(scheduler)
            changed = [name for name in held if held[name] != configured.get(name)]
            if changed:
                old, new = (', '.join(f'{name}={each.get(name)}' for name in changed) for each in (held, configured))
                lines.append(
                    f'param_scheduler.{number} ({type(scheduler).__name__}) goes on as in the checkpoint, with {old}; '
                    f'{new} of the config is ignored. For a new schedule, start from the weights: --cfg-options '
                    'load_from=CHECKPOINT resume=False, without --resume'
                )
        return lines


def _schedulers(runner: Runner) -> list:
    schedulers = cast(Any, runner.param_schedulers) or []
    return schedulers if isinstance(schedulers, list) else [one for each in schedulers.values() for one in each]


def _settings(scheduler) -> dict:
    return {name: value for name, value in vars(scheduler).items() if name in SETTINGS}


def _in_iterations(runner: Runner, moment: int, scheduler) -> int:
    if not scheduler.by_epoch or moment >= INF:
        return moment
    return moment * runner.max_iters // runner.max_epochs if runner.max_epochs else moment


def _misfit(runner: Runner, number: int, scheduler) -> str | None:
    """Describe how a schedule does not fit the length of the training."""
    begin, end = (_in_iterations(runner, moment, scheduler) for moment in (scheduler.begin, scheduler.end))
    name = f'param_scheduler.{number} ({type(scheduler).__name__})'
    if begin >= runner.max_iters:
        return f'{name} begins at iteration {begin}, but the training ends at {runner.max_iters}: it has no effect'
    if runner.max_iters < end < INF:
        return (
            f'{name} ends at iteration {end}, but the training ends at {runner.max_iters}: the learning rate does not '
            'come to the end of this schedule. Lower its end and T_max, or raise train_cfg.max_epochs'
        )
    return None


def _check_rate(runner: Runner, schedulers: list) -> None:
    over = all(_in_iterations(runner, each.end, each) <= runner.iter for each in schedulers)
    groups = runner.optim_wrapper.param_groups if isinstance(runner.optim_wrapper, OptimWrapper) else []
    rates = [(group['lr'], group['initial_lr']) for group in groups if group.get('initial_lr')]
    if schedulers and over and rates and all(rate < NEGLIGIBLE * initial for rate, initial in rates):
        rate, initial = max(rates)
        raise UserError(
            f'The schedules of the checkpoint are over at iteration {runner.iter}, where the learning rate is '
            f'{rate:.3g} (at first {initial:.3g}), but the training lasts until iteration {runner.max_iters}: it would '
            'learn nothing. To train on from these weights with a new schedule: --cfg-options load_from=CHECKPOINT '
            'resume=False, without --resume.'
        )
