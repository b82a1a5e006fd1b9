"""The results of the checks: one row for each figure, with what was expected."""

import gc
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch

COLUMNS = {name: f'{{{name}}}' for name in ('check', 'figure', 'got', 'expected', 'verdict')}


class Needed(Exception):
    """A check needs what this machine does not have. The message names it."""


@dataclass
class Row:
    """A figure of a check.

    Attributes:
        figure: What was measured.
        got: The value.
        expected: The expected value or range, as text. Empty: the figure is for information.
        verdict: ``ok``, ``differs``, ``needs ...`` or ``failed: ...``. Empty: the figure is for information.
        check: The name of the check.
    """

    figure: str
    got: float | int | str | None
    expected: str = ''
    verdict: str = ''
    check: str = ''

    def shown(self) -> dict:
        """Return the cells of ``COLUMNS``."""
        got = f'{self.got:.3g}' if isinstance(self.got, float) else '' if self.got is None else str(self.got)
        return {**asdict(self), 'got': got}


def at_most(figure: str, got: float, limit: float) -> Row:
    """Return the row of a figure that is ``limit`` or less. NaN is neither."""
    return Row(figure, got, f'<= {limit:.3g}', 'ok' if got <= limit else 'differs')


def at_least(figure: str, got: float, limit: float) -> Row:
    """Return the row of a figure that is ``limit`` or more. NaN is neither."""
    return Row(figure, got, f'>= {limit:.3g}', 'ok' if got >= limit else 'differs')


def equal(figure: str, got: float | int | str, expected: float | int | str) -> Row:
    """Return the row of a figure that has one right value."""
    return Row(figure, got, str(expected), 'ok' if got == expected else 'differs')


def rows_of(name: str, check: Callable[[], Iterable[Row]]) -> list[Row]:
    """Run one check. Its error becomes a row, so that it does not stop other checks.

    Args:
        name: The name of the check.
        check: Yields rows. It may raise :class:`Needed`, or any error.
    """
    rows = []
    try:
        rows.extend(check())
    except Needed as missing:
        rows.append(Row('', None, '', f'needs {missing}'))
    except Exception as error:  # A check may fail in any way on a device that it has never seen.
        rows.append(Row('', None, '', f'failed: {_one_line(error)}'))
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    for row in rows:
        row.check = name
    return rows


def as_json(row: Row) -> dict:
    """Return a row as JSON knows it: there is no NaN and no infinity."""
    values = asdict(row)
    if isinstance(row.got, float) and not math.isfinite(row.got):
        values['got'] = str(row.got)
    return values


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The error of another process is a traceback, whose last line is the message.
    text = lines[-1] if 'Traceback (most recent call last)' in str(error) else ' '.join(lines[:1])
    return f'{type(error).__name__}: {text}'[:200]
