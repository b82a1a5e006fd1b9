#!/usr/bin/env python
"""Write the tables and figures in README.md and docs/ from the records in results/.

A page says where they go, in comments that stay in the page:

    <!-- table: NAME --> ... <!-- end -->                  a table of TABLES, with a line about its measurement
    <!-- figure: RECORD/KEY/... FORMAT --> ... <!-- end -->   one value of results/RECORD.json, such as
                                                            benchmark_vit-b/steps/AEMIM/time_ratio .1f

Example:
    python tools/misc/make_tables.py --check
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from os.path import relpath
from pathlib import Path

from aemim_mm.benchmark import attack_variants, table
from aemim_mm.benchmark.estimate import gpu_hours, gpu_steps, largest_batches, memory
from aemim_mm.errors import UserError, unknown_name
from aemim_mm.evaluation.instrument_charts import RANGE_COLUMNS, ranges
from aemim_mm.report.record import read_record
from aemim_mm.report.table import markdown_table
from aemim_mm.study.tables import DIFFERENCE_COLUMNS, differences, mean_columns, means

REPO = Path(__file__).resolve().parents[2]
BEGIN = re.compile(r'<!-- (?:table|figure): ')
MARKED = re.compile(r'(<!-- (table|figure): (.+?) -->)(.*?)(<!-- end -->)', re.DOTALL)


@dataclass
class Table:
    """A table that is made from a record.

    Attributes:
        record: Name of the file in results/, without ``.json``; or of a folder there, with a record for each run.
        columns: As for ``markdown_table``, or a function that makes them of the same argument as ``rows``.
        rows: Maps the values of the record, or the list of the folder's records, to the rows of ``markdown_table``.
    """

    record: str
    columns: dict | Callable[..., dict]
    rows: Callable = dict


def demo_encoders(demo: dict) -> dict:
    """Top-1 of frozen and fine-tuned encoders, and the seconds of their pre-training, by encoder."""
    rows = {}
    for name, probes in demo['frozen'].items():
        start = 'scratch' if name == 'untrained' else name
        seconds = demo['seconds'].get(name.lower())
        rows[name] = dict(probes, tuned=demo['fine_tuned'][start]['top-1'], seconds=seconds)
    rows['untrained, or trained from scratch'] = rows.pop('untrained')
    return dict(sorted(rows.items(), key=lambda row: row[1]['seconds'] or 0))


def probed(method: str) -> Callable[[dict], dict]:
    """Return a function that names the two rows of a probe: the untrained encoder, and a method's."""
    return lambda probes: dict(zip(('untrained', method), probes.values(), strict=True))


def plain_networks(demo: dict) -> dict:
    """Top-1 of the networks that were fine-tuned on clean images, clean, attacked and corrupted."""
    return {name: row for name, row in demo['robustness'].items() if 'PGD-AT' not in name}


BY_MODEL = {
    'MAE ViT-B': '{mae_vit-b_800e}',
    'AEMIM ViT-B': '{aemim_vit-b_800e}',
    'AEMIM ViT-L': '{aemim_vit-l_800e}',
}
DEMO_COLUMNS = {
    'encoder': '{name}',
    'linear probe': '{linear:.1f}',
    '20-NN': '{knn:.1f}',
    'fine-tuned with 500 labels': '{tuned:.1f}',
    'pre-training, one core': '{seconds:.0f} s',
}
PROBE_COLUMNS = dict(list(DEMO_COLUMNS.items())[:3])
ATTACK_COLUMNS = {
    'start': '{name}',
    'clean': '{clean:.1f}',
    'PGD, eps 2': '{pgd/2:.1f}',
    'PGD, eps 4': '{pgd/4:.1f}',
    'PGD, eps 8': '{pgd/8:.1f}',
    'corrupted': '{corrupted:.1f}',
}
GPU_COLUMNS = {
    'GPU': '{name}',
    'products, TFLOP/s': '{peak}',
    'memory, TB/s': '{bandwidth}',
    **{title: f'{field[:-1]}:.0f}}' for title, field in BY_MODEL.items()},
}
PEER_COLUMNS = {title: form for title, form in table.STEP_COLUMNS.items() if title != 'of its MAE'}
GPU_STEP_COLUMNS = {
    'GPU, config': '{name}',
    'products, ms': '{products:.0f}',
    'other kernels, ms': '{kernels:.0f}',
    'host, ms': '{host:.0f}',
    'step of 512, ms': '{step:.0f}',
    'images/s': '{images_per_second:.0f}',
}
MEMORY_COLUMNS = {
    'config': '{name}',
    'optimizer states, DDP': '{optimizer_mb:.0f} MB',
    'with ZeRO-1, fullest of 8': '{zero1_mb:.0f} MB',
    'saved on each GPU': '{saved_gb:.1f} GB, as much as {saved_images:.0f} images keep',
    'weights, gradients, AdamW': '{fixed_gb:.1f} GB',
}
TABLES = {
    'benchmark': Table('benchmark_vit-b', table.STEP_COLUMNS, lambda values: values['steps']),
    'benchmark stages': Table('benchmark_vit-b', table.STAGE_COLUMNS, lambda values: values['stages']),
    'benchmark peers': Table('benchmark_peers', PEER_COLUMNS, lambda values: values['steps']),
    'attacks': Table('attacks_vit-tiny', attack_variants.COLUMNS),
    'processes': Table('processes', table.PROCESS_COLUMNS),
    'costs': Table('costs', table.COST_COLUMNS),
    'adapters': Table('adapters_vit-b', table.ADAPTER_COLUMNS),
    'demo encoders': Table('demo', DEMO_COLUMNS, demo_encoders),
    'demo hpm': Table('demo_hpm', PROBE_COLUMNS, probed('HPM')),
    'demo hpm half': Table('demo_hpm_half', PROBE_COLUMNS, probed('HPM')),
    'demo ibot': Table('demo_ibot', PROBE_COLUMNS, probed('iBOT')),
    'demo cim': Table('cim', PROBE_COLUMNS, probed('CIM')),
    'demo openclipart': Table('demo_openclipart', PROBE_COLUMNS, probed('MAE')),
    'demo networks': Table('demo', ATTACK_COLUMNS, plain_networks),
    'demo robust networks': Table('demo', ATTACK_COLUMNS, lambda values: values['robustness']),
    'instruments': Table('instruments', RANGE_COLUMNS, ranges),
    'memory': Table('costs', MEMORY_COLUMNS, memory),
    'gpu hours': Table('costs', GPU_COLUMNS, gpu_hours),
    'gpu steps': Table('costs', GPU_STEP_COLUMNS, gpu_steps),
    'presets means': Table('studies/presets', mean_columns, means),
    'presets differences': Table('studies/presets', DIFFERENCE_COLUMNS, differences),
    'encoder tuning means': Table('studies/encoder-tuning', mean_columns, means),
    'encoder tuning differences': Table('studies/encoder-tuning', DIFFERENCE_COLUMNS, differences),
    'largest batches': Table('costs', {'memory, GB': '{name}', **BY_MODEL}, largest_batches),
}


def filled(text: str, page: Path, results: Path) -> str:
    """Return a page with all tables and figures as the records have them.

    Args:
        text: The content of the page.
        page: Where the page is, for links to the records.
        results: The folder of the records.

    Raises:
        UserError: A table, a record or a value is unknown, or an end is missing.
    """

    def fill(match):
        start, kind, name, _, end = match.groups()
        content = _table(name, page, results) if kind == 'table' else _figure(name, results)
        return f'{start}{content}{end}'

    begun, ended = len(BEGIN.findall(text)), len(MARKED.findall(text))
    if begun != ended:
        raise UserError(f'{page}: {begun} tables and figures begin, but {ended} end. Add <!-- end --> after each.')
    return MARKED.sub(fill, text)


def _table(name: str, page: Path, results: Path) -> str:
    if name not in TABLES:
        raise unknown_name('table', name, TABLES)
    wanted = TABLES[name]
    path = results / wanted.record
    if path.is_dir():
        values = records = [read_record(each) for each in sorted(path.glob('*.json'))]
    else:
        path = path.with_name(f'{path.name}.json')
        records = [read_record(path)]
        values = records[0]['values']
    columns = wanted.columns(values) if callable(wanted.columns) else wanted.columns
    return f'\n\n{markdown_table(wanted.rows(values), columns)}\n\n{_caption(records, path, page)}\n\n'


def _caption(records: list[dict], path: Path, page: Path) -> str:
    def where(record):
        machine, torch = record['machine'], record['versions']['torch'].split('+')[0]
        threads = f'{machine["threads"]} thread{"" if machine["threads"] == 1 else "s"}'
        return f'{", ".join(machine["gpus"] or [machine["processor"], threads])}; torch {torch}'

    # A run of a study has the command of the study, with --only.
    commands = dict.fromkeys(f'`{record["command"].split(" --only ")[0]}`' for record in records)
    dates = [choose(record['date'] for record in records) for choose in (min, max)]
    link = f'[record{"s" if path.is_dir() else ""}]({relpath(path, page.parent)})'
    parts = ', '.join(commands), ', '.join(dict.fromkeys(map(where, records))), ' to '.join(dict.fromkeys(dates)), link
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
    parser = argparse.ArgumentParser(description='Write the tables and figures in README.md and docs/ from results/.')
    parser.add_argument('--check', action='store_true', help='write nothing; exit with 1 and a diff if a page differs')
    args = parser.parse_args()
    differ = False
    for page in pages():
        old = page.read_text(encoding='utf-8')
        try:
            new = filled(old, page, REPO / 'results')
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            sys.exit(2)
        if args.check:
            name = str(page.relative_to(REPO))
            diff = difflib.unified_diff(old.splitlines(), new.splitlines(), name, f'{name}, from results/', lineterm='')
            print(*diff, sep='\n', end='\n' if old != new else '')
        elif old != new:
            page.write_text(new, encoding='utf-8')
        differ |= old != new
    if args.check and differ:
        sys.exit(1)


if __name__ == '__main__':
    main()
