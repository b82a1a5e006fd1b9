"""Tables in Markdown."""

from string import Formatter


def markdown_table(rows: dict, columns: dict) -> str:
    """Return a table in Markdown.

    Args:
        rows: Name of a row to its values. The name is the value ``name``.
        columns: Heading to a format string over the values, such as ``'{step:.2f}'``. A cell is empty where a value
            that its format names is None.

    Raises:
        KeyError: A row lacks a value that a column names.
    """
    heading, found = cells(rows, columns)
    lines = [heading, *found]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(columns))]
    padded = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |' for line in lines]
    return '\n'.join([padded[0], '| ' + ' | '.join('-' * width for width in widths) + ' |', *padded[1:]])


def cells(rows: dict, columns: dict) -> tuple[list[str], list[list[str]]]:
    """Return the headings of a table and the texts in each of its rows; the arguments are those of a table."""
    return list(columns), [
        [_cell(form, {'name': name, **row}) for form in columns.values()] for name, row in rows.items()
    ]


def _cell(form: str, values: dict) -> str:
    fields = [field for _, field, _, _ in Formatter().parse(form) if field]
    return '' if any(values[field] is None for field in fields) else form.format_map(values)
