"""In which fields configs differ."""

from collections.abc import Iterator, Sequence
from typing import Any

# Stands for the value of a field that a config lacks.
ABSENT = object()


def differences(values: Sequence[Any], name: str = '') -> Iterator[tuple[str, list[Any]]]:
    """Yield the name and the values of each field that differs between configs.

    Args:
        values: What each config has, of which ``ABSENT`` stands for nothing.
        name: Its dotted name.
    """
    values = [list(value) if isinstance(value, tuple) else value for value in values]
    there = [value for value in values if value is not ABSENT]
    if len(there) == len(values) and all(value == values[0] for value in values):
        return
    # A part that a single run has stays whole, so that the table shows one line for it.
    several = len(there) > 1 and any(value != there[0] for value in there)
    if several and all(isinstance(value, dict) for value in there):
        for key in dict.fromkeys(key for value in there for key in value):
            inner = [ABSENT if value is ABSENT else value.get(key, ABSENT) for value in values]
            yield from differences(inner, f'{name}.{key}' if name else str(key))
    elif several and all(isinstance(value, list) and len(value) == len(there[0]) for value in there):
        for index in range(len(there[0])):
            inner = [ABSENT if value is ABSENT else value[index] for value in values]
            yield from differences(inner, f'{name}.{index}')
    else:
        yield name, values
