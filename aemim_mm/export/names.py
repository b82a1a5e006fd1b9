"""Tables of tensor names, read in both directions."""

import re
from dataclasses import dataclass, field

# Of a layer: its weight and its bias. Of a parameter: itself.
ENDINGS = ('.weight', '.bias', '')


class NameTable:
    """Pairs of names, (ours, theirs), for layers and for single parameters; ``*`` stands for a number.

    Args:
        pairs: The same number of ``*``, in the same order, on both sides.
    """

    def __init__(self, pairs):
        self._ours = [(_pattern(ours), theirs) for ours, theirs in pairs]
        self._theirs = [(_pattern(theirs), ours) for ours, theirs in pairs]

    def to_ours(self, name: str) -> str | None:
        """Our name of a foreign tensor; None if the table lacks it."""
        return _translate(name, self._theirs)

    def to_theirs(self, name: str) -> str | None:
        """The foreign name of one of our tensors; None if the table lacks it."""
        return _translate(name, self._ours)


@dataclass
class Converted:
    """Tensors under other names, and what was left out: names with the reason."""

    state: dict
    left_out: dict = field(default_factory=dict)


def rename(state: dict, translate, reason) -> Converted:
    """Give each tensor the name that ``translate`` says; what has none is left out with ``reason(name)``."""
    converted = Converted({})
    for name, value in state.items():
        new = translate(name)
        if new is None:
            converted.left_out[name] = reason(name)
        else:
            converted.state[new] = value
    return converted


def _pattern(name: str) -> re.Pattern:
    number = re.escape(name).replace(r'\*', r'(\d+)')
    return re.compile(rf'{number}({"|".join(map(re.escape, ENDINGS))})')


def _translate(name: str, rules) -> str | None:
    for pattern, other in rules:
        match = pattern.fullmatch(name)
        if match:
            *numbers, ending = match.groups()
            parts = other.split('*')
            return ''.join(part + number for part, number in zip(parts, [*numbers, ''])) + ending
    return None
