"""Write an HTML report from the logs of trainings, several side by side, also while they go on.

Example:
    python tools/analysis_tools/report.py work_dirs/aemim_vit-b_800e mae=work_dirs/mae_vit-b_800e
"""

import argparse
import shlex
import sys
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(
        description='Write an HTML report from the logs of trainings, several side by side, also while they go on.'
    )
    parser.add_argument(
        'work_dirs', nargs='+', metavar='[LABEL=]WORK_DIR', help='work directory of a training; default label: its name'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='default: report.html in the first work directory')
    args = parser.parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.engine.work_dir import in_use
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.comparison import write_comparison
    from aemim_mm.report.runs import read_runs

    with one_clear_error():
        runs = read_runs(args.work_dirs, in_use)
        command = shlex.join(['python', 'tools/analysis_tools/report.py', *sys.argv[1:]])
        print(write_comparison(runs, args.out or runs[0].folder / 'report.html', command))


if __name__ == '__main__':
    main()
