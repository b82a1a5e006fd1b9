#!/usr/bin/env python
"""Compare the throughput of training with different numbers of processes, by whole runs of tools/dist_train.sh.

Example:
    python tools/analysis_tools/processes.py configs/demo/aemim_vit-tiny_16e_fashion-mnist.py --processes 1 2 \
        --cfg-options train_cfg.max_epochs=1 train_dataloader.dataset.limit=2560
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

TOOLS = Path(__file__).resolve().parents[1]


def parse_args():
    parser = argparse.ArgumentParser(description='Compare the throughput of training by numbers of processes.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--processes', type=int, nargs='+', default=[1, 2], help='numbers of processes; the first is the base'
    )
    parser.add_argument(
        '--repetitions', '--rounds', type=int, default=3, metavar='N', help='runs of each number (default: 3)'
    )
    parser.add_argument('--threads', type=int, default=1, help='threads of each process on a CPU (default: 1)')
    parser.add_argument('--skip', type=int, default=5, help='first iterations to leave out (default: 5)')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    parser.add_argument('--data-root', metavar='DIR', help='as for tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py')
    return parser.parse_args()


def iteration_times(args, processes: int, work_dir: str) -> list[float]:
    """Train once, and return the seconds of each iteration."""
    each = ['default_hooks.logger.interval=1', 'log_processor.window_size=1']
    options = [*args.cfg_options, *each, f'work_dir={work_dir}']
    data = ['--data-root', args.data_root] if args.data_root else []
    command = [TOOLS / 'dist_train.sh', args.config, str(processes), *data, '--cfg-options', *options]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # Without OMP_NUM_THREADS, a single process would use all cores.
    env = {**os.environ, 'PYTHON': sys.executable, 'PORT': str(port), 'OMP_NUM_THREADS': str(args.threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'error: {" ".join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}')
    files = Path(work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row['time'] for row in rows if 'time' in row and 'loss' in row][args.skip :]


def figures(times: dict) -> dict:
    """Return the figures of ``PROCESS_COLUMNS``.

    Args:
        times: Number of processes to the seconds of an iteration, one for each run. The first number is the base.
    """
    first = next(iter(times))
    rows = {}
    for count, values in times.items():
        # Each process has the same batch size, so an iteration of ``count`` processes has ``count`` times the images.
        gains = [count / first * base / value for base, value in zip(times[first], values)]
        rows[str(count)] = dict(
            seconds=median(values),
            gain=median(gains),
            least_gain=min(gains),
            greatest_gain=max(gains),
            of_linear=median(gains) * first / count,
        )
    return rows


def main():
    args = parse_args()
    times = {count: [] for count in args.processes}
    for number in range(args.repetitions):
        for count in args.processes:
            print(f'repetition {number + 1} of {args.repetitions}: {count} processes', file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                times[count].append(median(iteration_times(args, count, folder)))
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.benchmark.table import PROCESS_COLUMNS
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    rows = figures(times)
    print(markdown_table(rows, PROCESS_COLUMNS))
    if args.record:
        write_record(args.record, rows, config=' '.join([args.config, *args.cfg_options]))


if __name__ == '__main__':
    main()
