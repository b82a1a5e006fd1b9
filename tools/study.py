"""Run a study: a declared grid of trainings, one record for each. The same command goes on with an interrupted study.

Example:
    python tools/study.py configs/studies/smoke.py
"""

import argparse
import asyncio
import math
import shlex
import signal
import sys
import time
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run a study: a declared grid of trainings, one record for each.')
    parser.add_argument('study', type=Path, help='file of the study, in configs/studies/')
    parser.add_argument('--list', action='store_true', help='list the runs and whether they are done; run nothing')
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='print one command for each run that is to do, for GNU parallel or the jobs of a cluster; run nothing',
    )
    parser.add_argument(
        '--only', nargs='+', default=[], metavar='NAME', help='only these methods, or these runs (METHOD-seedN)'
    )
    parser.add_argument(
        '--budget-minutes', type=float, metavar='M', help='begin no run after M minutes; those that run are finished'
    )
    parser.add_argument(
        '--lanes',
        type=int,
        metavar='N',
        help='runs at a time, each in a process of its own with its share of the cores (default: 2, or 1 on one '
        'core). 0: one after the other, in this process',
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='where the records go (default: results/studies/<name of the study>)'
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='DIR',
        help='where logs and checkpoints go (default: work_dirs/studies/<name of the study>)',
    )
    args = parser.parse_args()
    if args.lanes is not None and args.lanes < 0:
        parser.error('--lanes is 0 or more')
    args.out = args.out or Path('results/studies', args.study.stem)
    args.work_dir = (args.work_dir or Path('work_dirs/studies', args.study.stem)).resolve()
    return args


def main():
    args = parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import one_clear_error

    with one_clear_error():
        run_study(args)


def run_study(args: argparse.Namespace) -> None:
    from aemim_mm.engine.ranks import sigterm_restored
    from aemim_mm.study.declaration import chosen
    from aemim_mm.study.lanes import LANES
    from aemim_mm.study.perform import finished
    from aemim_mm.study.reading import read_study

    runs = chosen(read_study(args.study).runs(), args.only)
    done = {run.name: record for run in runs if (record := finished(run, args.out))}
    if args.list:
        for run in runs:
            print(f'{run.name:30} {_state(done.get(run.name))}')
        return
    todo = [run for run in runs if run.name not in done]
    if args.print_commands:
        for run in todo:
            print(shlex.join(['python', 'tools/study.py', *_arguments(args, run)]))
        return
    print(f'{len(done)} of {len(runs)} runs are done, {len(todo)} are left.', flush=True)
    deadline = math.inf if args.budget_minutes is None else time.monotonic() + 60 * args.budget_minutes
    lanes = LANES if args.lanes is None else args.lanes
    if lanes:
        with sigterm_restored():
            # A scheduler ends the study by SIGTERM: then the runs end too, and go on with the next call.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
            failed = asyncio.run(_run_in_lanes(todo, args, lanes, deadline))
    else:
        failed = []
        _run_here(todo, args, deadline)
    left = sum(finished(run, args.out) is None for run in todo)
    print(f'{len(runs) - left} of {len(runs)} runs are done. Records: {args.out}')
    if failed:
        sys.exit('\n'.join(failed))


def _arguments(args: argparse.Namespace, run) -> list[str]:
    """Return the arguments of this tool for one run, in the process that it is called in."""
    parts = [args.study, '--only', run.name, '--lanes', 0, '--out', args.out, '--work-dir', args.work_dir]
    return [str(part) for part in parts]


def _state(record: dict | None) -> str:
    if record is None:
        return 'to do'
    return f'done in {sum(record["values"]["seconds"].values()):.0f} s, commit {str(record["commit"])[:8]}'


def _run_here(runs: list, args: argparse.Namespace, deadline: float) -> None:
    """Carry out runs one after the other, in this process. Any error ends the study."""
    from aemim_mm.study.perform import perform

    for run in runs:
        if time.monotonic() < deadline:
            perform(run, args.out, args.work_dir)


async def _run_in_lanes(runs: list, args: argparse.Namespace, lanes: int, deadline: float) -> list[str]:
    """Carry out runs, each in a process of its own; return a message for each run that failed."""
    from aemim_mm.study.lanes import CommandFailed, run_command, run_in_lanes

    logs, failed = args.work_dir / 'logs', []
    logs.mkdir(parents=True, exist_ok=True)

    async def run_one(run):
        started = time.monotonic()
        if started >= deadline:
            return
        print(f'{run.name}: started', flush=True)
        command = [sys.executable, __file__, *_arguments(args, run)]
        try:
            await run_command(run.name, command, logs / f'{run.name}.txt', lanes=lanes)
            print(f'{run.name}: done in {time.monotonic() - started:.0f} s', flush=True)
        except CommandFailed as error:  # The other runs do not depend on this one.
            failed.append(str(error))
            print(error, flush=True)

    await run_in_lanes([lambda run=run: run_one(run) for run in runs], lanes)
    return failed


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command goes on.')
