"""The page: tables, sections in order, and the atomic write."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from .charts import Chart, render_chart
from .panels import Panel, render_panel

NUMBER = re.compile(r'[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?')

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Table:
    """A section with a table; the first cell of a row names the row.

    Args:
        title: Heading of the section.
        caption: What the reader should see in it.
        header: Name of each column.
        rows: Cells as text, such as ``77.9`` or ``77.9 ± 0.3``; one for each column.
        best: Column name to ``'max'`` or ``'min'``: the best number of that column is highlighted.
    """

    title: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.header):
                raise ValueError(
                    f'Table {self.title!r}, row {number}: got {len(row)} cells, expected {len(self.header)}, '
                    'one for each column.'
                )
        for column, rule in self.best.items():
            if column not in self.header or rule not in ('max', 'min'):
                raise ValueError(
                    f"Table {self.title!r}: got best[{column!r}] = {rule!r}, expected 'max' or 'min' for one of the "
                    f'columns {list(self.header)}.'
                )


Section = Chart | Table | Panel


def render_table(table: Table) -> str:
    """Return the table as HTML, in a box that scrolls by itself if the screen is too narrow."""
    if not table.rows:
        return '<p class="empty">No rows were recorded for this table.</p>'
    winners = {table.header.index(column): best_rows(table, column) for column in table.best}
    numeric = [
        all(NUMBER.match(row[i]) or not row[i].strip('-–— ') for row in table.rows) for i in range(len(table.header))
    ]
    kinds = [' class="number"' if i and is_number else '' for i, is_number in enumerate(numeric)]
    head = ''.join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, table.header, strict=True))
    lines = []
    for number, row in enumerate(table.rows):
        cells = []
        for i, cell in enumerate(row):
            text = escape(cell)
            if number in winners.get(i, ()):
                text = f'<strong class="best">{text}<span class="unseen"> (best)</span></strong>'
            cells.append(f'<td{kinds[i]}>{text}</td>' if i else f'<th scope="row">{text}</th>')
        lines.append(f'<tr>{"".join(cells)}</tr>')
    return '\n'.join(
        [
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}"><table>',
            f'<thead><tr>{head}</tr></thead>',
            '<tbody>',
            *lines,
            '</tbody>',
            '</table></div>',
        ]
    )


def best_rows(table: Table, column: str) -> set[int]:
    """Return the numbers of the rows, from 0, that hold the best value of a column; ties give several."""
    index = table.header.index(column)
    found = {i: NUMBER.match(row[index]) for i, row in enumerate(table.rows)}
    values = {i: float(match.group().replace(',', '')) for i, match in found.items() if match}
    if not values:
        return set()
    best = (max if table.best[column] == 'max' else min)(values.values())
    return {i for i, value in values.items() if value == best}


def render_section(section: Section) -> str:
    """Return one section with its heading, what it shows, and its caption."""
    renderers = {Chart: render_chart, Table: render_table, Panel: render_panel}
    renderer = renderers.get(type(section))
    if renderer is None:
        raise TypeError(f'got a section of type {type(section).__name__}, expected Chart, Table or Panel.')
    kind = type(section).__name__.lower()
    caption = f'<p class="caption">{escape(section.caption)}</p>\n' if section.caption else ''
    return (
        f'<section class="{kind}-section">\n<h2>{escape(section.title)}</h2>\n{caption}{renderer(section)}\n</section>'
    )


def render_command(command: str) -> str:
    """Return a shell command as HTML whose option names do not break: ``--`` at the end of a line would mislead."""
    return re.sub(r'(?<!\S)-{1,2}\w[\w-]*', r'<span class="option">\g<0></span>', escape(command))


def render_report(
    *,
    title: str,
    summary: Sequence[str],
    facts: Mapping[str, str],
    sections: Sequence[Section],
    next_steps: Sequence[tuple[str, str]],
) -> str:
    """Return the report as one HTML document; the arguments are those of :func:`write_report`."""
    style = Path(__file__).with_name('report.css').read_text(encoding='utf-8')
    points = '\n'.join(f'<li>{escape(point)}</li>' for point in summary)
    pairs = '\n'.join(f'<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>' for key, value in facts.items())
    steps = '\n'.join(
        f'<li><p>{escape(text)}</p>\n<pre><code>{render_command(command)}</code></pre></li>'
        for text, command in next_steps
    )
    body = [
        f'<header>\n<h1>{escape(title)}</h1>',
        f'<ul class="summary">\n{points}\n</ul>' if summary else '',
        f'<dl class="facts">\n{pairs}\n</dl>' if facts else '',
        '</header>\n<main>',
        *(render_section(section) for section in sections),
        f'<section>\n<h2>Next steps</h2>\n<ol class="steps">\n{steps}\n</ol>\n</section>' if next_steps else '',
        '</main>',
    ]
    content = '\n'.join(part for part in body if part)
    return PAGE.format(title=escape(title), style=style, body=content)


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    summary: Sequence[str],
    facts: Mapping[str, str],
    sections: Sequence[Section],
    next_steps: Sequence[tuple[str, str]],
) -> Path:
    """Write a self-contained HTML report.

    Args:
        path: The file to write. Missing folders are made; an older report is replaced only by a complete new one.
        title: Heading of the page.
        summary: What came out, one sentence for each point.
        facts: Short key and value pairs for the strip at the top: machine, duration, versions and the like.
        sections: Charts, tables and panels, in reading order.
        next_steps: Pairs of an explanation and a shell command.

    Returns:
        The path written.

    Raises:
        TypeError: A section is not a Chart, a Table or a Panel.
        ValueError: A picture is not uint8 (H, W, 3) or (H, W).
    """
    text = render_report(title=title, summary=summary, facts=facts, sections=sections, next_steps=next_steps)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within one file system.
    draft = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        draft.write_text(text, encoding='utf-8')
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
