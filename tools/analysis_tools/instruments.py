"""Show what InstrumentsHook logged in trainings: the range of each figure, and charts in a report.

Example:
    python tools/analysis_tools/instruments.py AEMIM=work_dirs/demo/aemim MAE=work_dirs/demo/mae --report charts.html
"""

import argparse
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description='Show what InstrumentsHook logged: the range of each figure, charts.')
    parser.add_argument('trainings', nargs='+', metavar='[NAME=]WORK_DIR', help='work directories of trainings')
    parser.add_argument('--report', type=Path, metavar='FILE', help='write the charts there, as HTML')
    parser.add_argument('--record', type=Path, metavar='FILE', help='write all figures there, as a record')
    args = parser.parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        show(args)


def show(args):
    from aemim_mm.errors import UserError
    from aemim_mm.evaluation.instrument_charts import RANGE_COLUMNS, instrument_charts, instruments_of, ranges
    from aemim_mm.report import write_report
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    named = [training.rpartition('=') for training in args.trainings]
    folders = {name or Path(folder).name: Path(folder) for name, _, folder in named}
    logged = {name: instruments_of(folder) for name, folder in folders.items()}
    for name, figures in logged.items():
        if not figures:
            raise UserError(
                f'{folders[name]} has no figures of InstrumentsHook. Add the hook to custom_hooks of the config, and '
                'train at least one epoch.'
            )
    values = {name: {figure: list(points[1]) for figure, points in one.items()} for name, one in logged.items()}
    print(markdown_table(ranges(values), RANGE_COLUMNS))
    if args.report:
        facts = {name: f'{len(next(iter(figures.values())))} measurements' for name, figures in values.items()}
        summary = ['What InstrumentsHook logged during pre-training. docs/method.md says what each figure means.']
        charts = instrument_charts(logged)
        write_report(args.report, title='Instruments', summary=summary, facts=facts, sections=charts, next_steps=[])
    if args.record:
        configs = [path.name for folder in folders.values() for path in sorted(folder.glob('*.py'))]
        write_record(args.record, values, config=sorted(set(configs)))


if __name__ == '__main__':
    main()
