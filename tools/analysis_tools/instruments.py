"""Show what InstrumentsHook logged in trainings: the range of each figure. report.py, beside this file, draws them.

Example:
    python tools/analysis_tools/instruments.py AEMIM=work_dirs/demo/aemim MAE=work_dirs/demo/mae
"""

import argparse
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description='Show what InstrumentsHook logged: the range of each figure.')
    parser.add_argument('trainings', nargs='+', metavar='[LABEL=]WORK_DIR', help='work directories of trainings')
    parser.add_argument('--record', type=Path, metavar='FILE', help='write all figures there, as a record')
    args = parser.parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        show(args)


def show(args):
    from aemim_mm.errors import UserError
    from aemim_mm.evaluation.instrument_charts import RANGE_COLUMNS, instruments_of, ranges
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    # A label may tell what was changed, such as adv_weight=50.
    named = [training.rpartition('=') for training in args.trainings]
    folders = {label or Path(folder).name: Path(folder) for label, _, folder in named}
    logged = {name: instruments_of(folder) for name, folder in folders.items()}
    for name, figures in logged.items():
        if not figures:
            raise UserError(
                f'{folders[name]} has no figures of InstrumentsHook. Add the hook to custom_hooks of the config, and '
                'train at least one epoch.'
            )
    values = {name: {figure: list(points[1]) for figure, points in one.items()} for name, one in logged.items()}
    print(markdown_table(ranges(values), RANGE_COLUMNS))
    if args.record:
        configs = [path.name for folder in folders.values() for path in sorted(folder.glob('*.py'))]
        write_record(args.record, values, config=sorted(set(configs)))


if __name__ == '__main__':
    main()
