"""Run a study: a declared grid of trainings, one record for each. The same command goes on with an interrupted study.

Example:
    python tools/study.py configs/studies/smoke.py
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Run a study: a declared grid of trainings, one record for each.')
    parser.add_argument('study', type=Path, help='file of the study, in configs/studies/')
    parser.add_argument('--list', action='store_true', help='list the runs and whether they are done; run nothing')
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
    from aemim_mm.study.declaration import chosen, read_study
    from aemim_mm.study.lanes import LANES
    from aemim_mm.study.perform import finished

    runs = chosen(read_study(args.study).runs(), args.only)
    done = {run.name: record for run in runs if (record := finished(run, args.out))}
    if args.list:
        for run in runs:
            print(f'{run.name:30} {_state(done.get(run.name))}')
        return
    todo = [run for run in runs if run.name not in done]
    print(f'{len(done)} of {len(runs)} runs are done, {len(todo)} are left.', flush=True)
    lanes = LANES if args.lanes is None else args.lanes
    failed = asyncio.run(_run_all(todo, args, lanes))
    left = sum(finished(run, args.out) is None for run in todo)
    print(f'{len(runs) - left} of {len(runs)} runs are done. Records: {args.out}')
    if failed:
        sys.exit('\n'.join(failed))


def _state(record: dict | None) -> str:
    if record is None:
        return 'to do'
    return f'done in {sum(record["values"]["seconds"].values()):.0f} s, commit {str(record["commit"])[:8]}'


async def _run_all(runs: list, args: argparse.Namespace, lanes: int) -> list[str]:
    """Run what the budget allows; return a message for each run that failed."""
    from aemim_mm.study.lanes import CommandFailed, run_in_lanes

    begin, failed = time.monotonic(), []

    async def run(each):
        started = time.monotonic()
        if args.budget_minutes is not None and started - begin >= 60 * args.budget_minutes:
            return
        print(f'{each.name}: started', flush=True)
        try:
            await _run(each, args, lanes)
        except CommandFailed as error:  # The other runs do not depend on it.
            failed.append(str(error))
            print(error, flush=True)
        else:
            print(f'{each.name}: done in {time.monotonic() - started:.0f} s', flush=True)

    # A scheduler ends the study by SIGTERM: then the runs end too, and go on with the next call.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    await run_in_lanes([lambda each=each: run(each) for each in runs], max(lanes, 1))
    return failed


async def _run(run, args: argparse.Namespace, lanes: int) -> None:
    """Carry out one run, here or in a process of its own."""
    from aemim_mm.study.lanes import run_command
    from aemim_mm.study.perform import perform

    if not lanes:
        perform(run, args.out, args.work_dir)
        return
    folder = args.work_dir / 'logs'
    folder.mkdir(parents=True, exist_ok=True)
    places = ['--out', args.out, '--work-dir', args.work_dir]
    command = [sys.executable, __file__, args.study, '--only', run.name, '--lanes', 0, *places]
    await run_command(run.name, [str(part) for part in command], folder / f'{run.name}.txt', lanes=lanes)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('\nStopped. The same command goes on.')
