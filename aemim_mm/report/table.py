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
    lines = [list(columns)]
    for name, values in rows.items():
        lines.append([_cell(form, {'name': name, **values}) for form in columns.values()])
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(columns))]
    padded = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |' for line in lines]
    return '\n'.join([padded[0], '| ' + ' | '.join('-' * width for width in widths) + ' |', *padded[1:]])


def _cell(form: str, values: dict) -> str:
    fields = [field for _, field, _, _ in Formatter().parse(form) if field]
    return '' if any(values[field] is None for field in fields) else form.format_map(values)
