"""Tables, and the page that holds all sections."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..checkpoints.files import write_whole
from . import charts
from .axes import short
from .charts import Chart
from .panels import PIXELATED, Panel, data_uri

NUMBER = re.compile(r'[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?')
TEMPLATES = Path(__file__).with_name('templates')


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

    def is_numeric(self, index: int) -> bool:
        """Return whether every cell of a column begins with a number, or is empty or a dash; the first never does."""
        return index > 0 and all(NUMBER.match(row[index]) or not row[index].strip('-–— ') for row in self.rows)

    def best_rows(self, index: int) -> set[int]:
        """Return the numbers of the rows, from 0, that hold the best value of a column; ties give several."""
        rule = self.best.get(self.header[index])
        found = {i: NUMBER.match(row[index]) for i, row in enumerate(self.rows) if rule}
        values = {i: float(match.group().replace(',', '')) for i, match in found.items() if match}
        best = (max if rule == 'max' else min)(values.values(), default=None)
        return {i for i, value in values.items() if value == best}


Section = Chart | Table | Panel


def kind(section: Section) -> str:
    """Return ``chart``, ``table`` or ``panel``.

    Raises:
        TypeError: The section is none of these.
    """
    if type(section) not in (Chart, Table, Panel):
        raise TypeError(f'got a section of type {type(section).__name__}, expected Chart, Table or Panel.')
    return type(section).__name__.lower()


def unbroken_options(command: str) -> Markup:
    """Return a shell command as HTML whose option names do not break: ``--`` at the end of a line would mislead."""
    return Markup(re.sub(r'(?<!\S)-{1,2}\w[\w-]*', r'<span class="option">\g<0></span>', str(escape(command))))


def environment() -> Environment:
    """Return the templates, with all that they call."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(
        data_uri=data_uri, kind=kind, px='{:.2f}'.format, short=short, unbroken_options=unbroken_options
    )
    made.globals.update(WIDTH=charts.WIDTH, HEIGHT=charts.HEIGHT, RIGHT=charts.RIGHT, PIXELATED=PIXELATED, zip=zip)
    return made


def render_section(section: Section) -> str:
    """Return a section as HTML, without its heading and caption."""
    return environment().get_template(f'{kind(section)}.html').render(section=section)


def render_svg(chart: Chart) -> str:
    """Return the drawing of the page as an SVG file of its own, on white; the chart has at least one finite point."""
    colours = dict(re.findall(r'--(\w+): (#\w+);', (TEMPLATES / 'report.css').read_text().split('@media')[0]))
    # Programs other than browsers do not know CSS variables.
    style = re.sub(r'var\(--(\w+)\)', lambda name: colours[name[1]], (TEMPLATES / 'chart.css').read_text())
    return environment().get_template('chart.svg').render(section=chart, style=Markup(style))


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
        UserError: The file cannot be written.
    """
    page = environment().get_template('report.html')
    text = page.render(title=title, summary=summary, facts=facts, sections=sections, next_steps=next_steps)
    write_whole(path, text.encode())
    return Path(path)
