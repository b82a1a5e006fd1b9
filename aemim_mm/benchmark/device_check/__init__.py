"""Checks that a device trains as the CPU does, and what a training step costs on it."""

from collections.abc import Callable, Iterable
from functools import partial

from .autocast import early_backward, weight_cache
from .costs import compiled, step_costs, waits
from .devices import agreement
from .processes import resumption, two_processes
from .rows import COLUMNS, Row, as_json, rows_of
from .steps import Setup

__all__ = ['CHECKS', 'COLUMNS', 'Row', 'Setup', 'as_json', 'run_checks']

# Name to the check, in the order in which they run.
CHECKS: dict[str, Callable[[Setup], Iterable[Row]]] = {
    **{name: partial(agreement, precision=name) for name in ('float32', 'bfloat16', 'float16')},
    'weight cache': weight_cache,
    'early backward': early_backward,
    'cost': step_costs,
    'waits': waits,
    'compile': compiled,
    'two processes': two_processes,
    'resume': resumption,
}


def run_checks(setup: Setup, progress: Callable[[str], object] = print) -> list[Row]:
    """Run all checks. One that fails, or that needs another machine, does not stop the others.

    Args:
        setup: What is checked, and where.
        progress: Called with the name of each check before it runs.
    """
    rows = []
    for name, check in CHECKS.items():
        progress(f'checking: {name}')
        rows += rows_of(name, partial(check, setup))
    return rows
