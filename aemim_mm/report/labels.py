"""Names of what is compared, as the user gives them on the command line."""

from pathlib import Path


def split_label(text: str) -> tuple[str, str]:
    """Split ``[LABEL=]PATH`` into label and path; the label is empty if there is none.

    A URL, or an existing file or folder, may contain ``=``.
    """
    label, separator, rest = text.partition('=')
    if not separator or '/' in label or '.py:' in label or Path(text).exists():
        return '', text
    return label, rest
