"""The exception for bad input, and parts of its messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """The user's input is wrong. The message says what was got, what was expected and how to fix it.

    The tools print the message as one line and exit with code 2. Other exceptions keep their traceback.

    Attributes:
        everywhere: Whether all ranks of a distributed run raise this error. If so, only one rank prints it.
    """

    everywhere = False


def unknown_name(kind: str, got: object, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not in ``known``; its message lists the known names."""
    return UserError(f'Unknown {kind} {got!r}. Known: {", ".join(sorted(known))}.')


def first_of(names: Iterable, limit: int = 5) -> str:
    """List the first names, and count the others, as in ``'a, b and 3 more'``.

    Args:
        names: Names, or other values to show.
        limit: Number of names to list, >= 1.
    """
    names = [str(name) for name in names]
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the known names that are near to a wrong one, or an empty string."""
    near = get_close_matches(name, list(known))
    return f' Did you mean {" or ".join(near)}?' if near else ''
