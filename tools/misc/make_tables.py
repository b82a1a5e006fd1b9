#!/usr/bin/env python
"""Write the tables, charts and figures in README.md and docs/ from the records in results/; and configs/README.md.

A page says where they go, in comments that stay in the page:

    <!-- table: NAME --> ... <!-- end -->                  a table of page_content.TABLES, with a line about its
                                                            measurement
    <!-- chart: NAME --> ... <!-- end -->                  a chart of page_content.CHARTS: the picture NAME.svg in the
                                                            folder charts beside the page, with such a line
    <!-- figure: RECORD/KEY/... FORMAT --> ... <!-- end -->   one value of results/RECORD.json, such as
                                                            benchmark_vit-b/steps/AEMIM/time_ratio .1f

Example:
    python tools/misc/make_tables.py --check
"""

import argparse
import difflib
import re
import sys
from functools import reduce
from operator import getitem
from os.path import relpath
from pathlib import Path

from config_pages import config_page
from page_content import CHARTS, TABLES

from aemim_mm.errors import UserError, unknown_name
from aemim_mm.report import render_svg
from aemim_mm.report.record import read_record
from aemim_mm.report.table import markdown_table

REPO = Path(__file__).resolve().parents[2]
BEGIN = re.compile(r'<!-- (?:table|chart|figure): ')
MARKED = re.compile(r'(<!-- (table|chart|figure): (.+?) -->)(.*?)(<!-- end -->)', re.DOTALL)


def filled(text: str, page: Path, results: Path) -> dict[Path, str]:
    """Return the content of a page, and of the pictures of its charts, as the records have them.

    Args:
        text: The content of the page.
        page: Where the page is, for links to the records.
        results: The folder of the records.

    Returns:
        File to content. The page is the first.

    Raises:
        UserError: A table, a chart, a record or a value is unknown, or an end is missing.
    """
    pictures = {}

    def fill(match):
        start, kind, name, _, end = match.groups()
        if kind == 'chart':
            drawn, caption = _chart(name, page, results)
            picture = page.parent / 'charts' / f'{name.replace(" ", "-")}.svg'
            pictures[picture] = f'{render_svg(drawn)}\n'
            content = f'\n\n![{drawn.title}]({relpath(picture, page.parent)})\n\n{drawn.caption}\n\n{caption}\n\n'
        else:
            content = _table(name, page, results) if kind == 'table' else _figure(name, results)
        return f'{start}{content}{end}'

    begun, ended = len(BEGIN.findall(text)), len(MARKED.findall(text))
    if begun != ended:
        raise UserError(
            f'{page}: {begun} tables, charts and figures begin, but {ended} end. Add <!-- end --> after each.'
        )
    return {page: MARKED.sub(fill, text), **pictures}


def _table(name: str, page: Path, results: Path) -> str:
    wanted, values, caption = _content(name, 'table', TABLES, page, results)
    columns = wanted.columns if isinstance(wanted.columns, dict) else wanted.columns(values)
    return f'\n\n{markdown_table(wanted.rows(values), columns)}\n\n{caption}\n\n'


def _chart(name: str, page: Path, results: Path) -> tuple:
    wanted, values, caption = _content(name, 'chart', CHARTS, page, results)
    return wanted.draw(values), caption


def _content(name: str, kind: str, known: dict, page: Path, results: Path) -> tuple:
    """Return what a table or chart is made of: its entry, the values of its records, and the line about them."""
    if name not in known:
        raise unknown_name(kind, name, known)
    path = results / known[name].record
    if path.is_dir():
        values = records = [read_record(each) for each in sorted(path.rglob('*.json'))]
    else:
        path = path.with_name(f'{path.name}.json')
        records = [read_record(path)]
        values = records[0]['values']
    return known[name], values, _caption(records, path, page)


def _caption(records: list[dict], path: Path, page: Path) -> str:
    def where(record):
        machine, torch = record['machine'], record['versions']['torch'].split('+')[0]
        threads = f'{machine["threads"]} thread{"" if machine["threads"] == 1 else "s"}'
        return f'{", ".join(machine["gpus"] or [machine["processor"], threads])}; torch {torch}'

    # A run of a study has the command of the study, with --only.
    commands = dict.fromkeys(f'`{record["command"].split(" --only ")[0]}`' for record in records)
    dates = [choose(record['date'] for record in records) for choose in (min, max)]
    link = f'[record{"s" if path.is_dir() else ""}]({relpath(path, page.parent)})'
    # A table of several studies names their commands in its rows.
    parts = [*commands] if len(commands) == 1 else []
    parts += [', '.join(dict.fromkeys(map(where, records))), ' to '.join(dict.fromkeys(dates)), link]
    return f'*{"; ".join(parts)}.*'


def _figure(name: str, results: Path) -> str:
    path, _, form = name.rpartition(' ')
    record, *keys = path.split('/')
    try:
        return format(reduce(getitem, keys, read_record(results / f'{record}.json')['values']), form)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'<!-- figure: {name} --> is not RECORD/KEY/... FORMAT with a key of the record: {error!r}. Look the keys '
            f'up in results/{record}.json.'
        ) from error


def pages() -> list[Path]:
    return [REPO / 'README.md', *sorted(REPO.glob('docs/**/*.md'))]


def main():
    parser = argparse.ArgumentParser(
        description='Write tables, charts and figures in README.md and docs/ from results/, and configs/README.md.'
    )
    parser.add_argument('--check', action='store_true', help='write nothing; exit with 1 and a diff if a file differs')
    args = parser.parse_args()
    contents = {REPO / 'configs/README.md': config_page(REPO / 'configs')}
    try:
        for page in pages():
            contents |= filled(page.read_text(encoding='utf-8'), page, REPO / 'results')
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    differ = False
    for path, new in contents.items():
        old = path.read_text(encoding='utf-8') if path.is_file() else ''
        if args.check:
            name = str(path.relative_to(REPO))
            diff = difflib.unified_diff(old.splitlines(), new.splitlines(), name, f'{name}, from results/', lineterm='')
            print(*diff, sep='\n', end='\n' if old != new else '')
        elif old != new:
            path.parent.mkdir(exist_ok=True)
            path.write_text(new, encoding='utf-8')
        differ |= old != new
    if args.check and differ:
        sys.exit(1)


if __name__ == '__main__':
    main()
