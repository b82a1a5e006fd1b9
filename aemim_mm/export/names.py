"""Translate tensor names by tables that serve both directions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# What follows a name of the table: a parameter of the layer, or nothing if the name is a parameter.
ENDINGS = ('.weight', '.bias', '')


class NameTable:
    """Names of layers and parameters in this project and in another library.

    Args:
        pairs: Tuples (our name, their name). ``*`` stands for a number. Both names have the same number of ``*``, and
            the numbers have the same order.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]):
        pairs = list(pairs)
        self._ours = [(_pattern(ours), theirs) for ours, theirs in pairs]
        self._theirs = [(_pattern(theirs), ours) for ours, theirs in pairs]

    def to_ours(self, name: str) -> str | None:
        """Translate their name of a tensor to ours; return None if the table lacks it."""
        return _translate(name, self._theirs)

    def to_theirs(self, name: str) -> str | None:
        """Translate our name of a tensor to theirs; return None if the table lacks it."""
        return _translate(name, self._ours)


@dataclass
class Converted:
    """Tensors under translated names.

    Attributes:
        state: New names and tensors.
        left_out: Old names of the tensors without a translation, each with the reason.
    """

    state: dict
    left_out: dict = field(default_factory=dict)


def rename(state: dict, translate: Callable[[str], str | None], reason: Callable[[str], str | None]) -> Converted:
    """Rename tensors.

    Args:
        state: Names and tensors.
        translate: Maps a name to the new name, or to None if the tensor is left out.
        reason: Maps the name of a tensor that is left out to the reason.
    """
    converted = Converted({})
    for name, value in state.items():
        new = translate(name)
        if new is None:
            converted.left_out[name] = reason(name)
        else:
            converted.state[new] = value
    return converted


def _pattern(name: str) -> re.Pattern:
    with_numbers = re.escape(name).replace(r'\*', r'(\d+)')
    return re.compile(rf'{with_numbers}({"|".join(map(re.escape, ENDINGS))})')


def _translate(name: str, rules) -> str | None:
    for pattern, other in rules:
        match = pattern.fullmatch(name)
        if match:
            *numbers, ending = match.groups()
            parts = other.split('*')
            return ''.join(part + number for part, number in zip(parts, [*numbers, ''])) + ending
    return None
