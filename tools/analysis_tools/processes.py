#!/usr/bin/env python
"""Throughput of one process and of several: whole training runs by tools/dist_train.sh, in turn.

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
    parser = argparse.ArgumentParser(description='Throughput of one process and of several.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2], help='to compare (default: 1 2)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each (default: 3)')
    parser.add_argument('--threads', type=int, default=1, help='of each process, on a CPU (default: 1)')
    parser.add_argument('--skip', type=int, default=5, help='iterations that warm up (default: 5)')
    parser.add_argument('--data-root', metavar='DIR', help='as of tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as of tools/train.py')
    return parser.parse_args()


def iteration_times(args, processes: int, work_dir: str) -> list[float]:
    """Train once; give the seconds of each iteration."""
    each = ['default_hooks.logger.interval=1', 'log_processor.window_size=1']
    options = [*args.cfg_options, *each, f'work_dir={work_dir}']
    data = ['--data-root', args.data_root] if args.data_root else []
    command = [TOOLS / 'dist_train.sh', args.config, str(processes), *data, '--cfg-options', *options]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    # One process must not have the cores of two.
    env = {**os.environ, 'PYTHON': sys.executable, 'PORT': str(port), 'OMP_NUM_THREADS': str(args.threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'error: {" ".join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-2000:]}')
    files = Path(work_dir).glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row['time'] for row in rows if 'time' in row and 'loss' in row][args.skip :]


def main():
    args = parse_args()
    times = {count: [] for count in args.processes}
    for number in range(args.rounds):
        for count in args.processes:
            print(f'round {number + 1} of {args.rounds}: {count} processes', file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                times[count].append(median(iteration_times(args, count, folder)))
    first = args.processes[0]
    print('| processes | s an iteration, median of runs | throughput, ratio: median (least-most) | of linear |')
    print('| --- | --- | --- | --- |')
    for count, values in times.items():
        # The batch of a process is the same, so an iteration has count times the images.
        gains = [count / first * base / value for base, value in zip(times[first], values)]
        spread = f'{median(gains):.2f} ({min(gains):.2f}-{max(gains):.2f})'
        print(f'| {count} | {median(values):.3f} | {spread} | {median(gains) * first / count:.0%} |')


if __name__ == '__main__':
    main()
