"""The one kind of exception that means: the user's input is wrong, and here is how to mend it."""


class UserError(ValueError):
    """Bad input: the message says what was got, what was expected and how to fix it.

    The tools print it as one line and exit with code 2; anything else keeps its traceback.

    Attributes:
        everywhere: It is raised on all ranks of a distributed run, so that one of them is enough to print it.
    """

    everywhere = False


def unknown_name(kind: str, got, known) -> UserError:
    """The error for an unknown name, with the known ones listed."""
    return UserError(f'Unknown {kind} {got!r}. Known: {", ".join(sorted(known))}.')
