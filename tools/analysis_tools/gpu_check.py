#!/usr/bin/env python
"""Check a GPU in five minutes: it trains as the CPU does, and what a step costs. Prints a table and writes one JSON.

Example:
    python tools/analysis_tools/gpu_check.py                  # ViT-B/16, a GPU with 16 GB
    python tools/analysis_tools/gpu_check.py --small          # the demo's network, a minute
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
VIT_B = dict(
    config=CONFIGS / 'aemim_vit-b_800e.py',
    baseline=CONFIGS / 'baselines/mae_vit-b_800e.py',
    presets={name: CONFIGS / f'aemim-{name}_vit-b_800e.py' for name in ('balanced', 'fast')},
)
SMALL = dict(
    config=CONFIGS / 'demo/aemim_vit-tiny_16e_fashion-mnist.py',
    baseline=CONFIGS / 'demo/mae_vit-tiny_16e_fashion-mnist.py',
    presets={},
    # With a limit, the data set ignores indices.
    options=('train_dataloader.dataset.limit=None',),
)


def parse_args():
    parser = argparse.ArgumentParser(description='Check that a GPU trains as the CPU does, and what a step costs.')
    parser.add_argument('--small', action='store_true', help="use the demo's network and data instead of ViT-B/16")
    parser.add_argument('--device', help='cpu, cuda, cuda:1 (default: cuda if the machine has a GPU)')
    parser.add_argument(
        '--batch-size', type=int, default=64, help='images in a step whose cost is measured (default: 64)'
    )
    parser.add_argument(
        '--images', type=int, default=4, help='images in a step whose values are compared, even (default: 4)'
    )
    parser.add_argument('--repetitions', type=int, default=5, metavar='N', help='timed steps (default: 5)')
    parser.add_argument(
        '--compile',
        nargs='?',
        const='inductor',
        metavar='BACKEND',
        help='check torch.compile too, which takes minutes more (default backend: inductor)',
    )
    parser.add_argument(
        '--record', default='gpu_check.json', metavar='FILE', help='the JSON to send (default: gpu_check.json)'
    )
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change all configs')
    args = parser.parse_args()
    if args.batch_size < 1 or args.repetitions < 1 or args.images < 2 or args.images % 2:
        parser.error('--batch-size and --repetitions are at least 1, and --images is even')
    return args


def main():
    args = parse_args()
    if args.device == 'cpu':  # mmengine would use a GPU that it sees.
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    # Imported here, because these imports take seconds and --help needs none of them.
    from mmengine.logging import MMLogger

    from aemim_mm.benchmark import choose_device, synthetic_imagenet
    from aemim_mm.benchmark.device_check import COLUMNS, Setup, as_json, run_checks
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    MMLogger.get_current_instance().setLevel('ERROR')
    with one_clear_error(), tempfile.TemporaryDirectory() as folder:
        chosen: dict[str, Any] = SMALL if args.small else VIT_B
        setup = Setup(
            **{**chosen, 'options': (*chosen.get('options', ()), *args.cfg_options)},
            device=choose_device(args.device),
            folder=Path(folder),
            data_root=None if args.small else synthetic_imagenet(Path(folder, 'imagenet')),
            images=args.images,
            batch_size=args.batch_size,
            repetitions=args.repetitions,
            compiler=args.compile,
        )
        rows = run_checks(setup, progress)
        print(markdown_table({str(number): row.shown() for number, row in enumerate(rows)}, COLUMNS))
        values = dict(
            device=facts(setup.device),
            batch_size=args.batch_size,
            images=args.images,
            rows=[as_json(row) for row in rows],
            benchmark=setup.benchmark,
            waits=setup.syncs,
        )
        write_record(args.record, values, config=[str(chosen['config']), *args.cfg_options], seed=0)
    bad = sum(row.verdict == 'differs' or row.verdict.startswith('failed') for row in rows)
    print(f'\nfaults: {bad}. Send {args.record} in an issue of the project; docs/performance.md explains the rows.')
    return 1 if bad else 0


def facts(device) -> dict:
    """Return what figures on a device depend on: its name, memory and capability, and the versions of its libraries."""
    import torch

    if device.type != 'cuda':
        return dict(name=device.type)
    properties = torch.cuda.get_device_properties(device)
    return dict(
        name=properties.name,
        memory_gb=properties.total_memory / 1e9,
        capability=f'{properties.major}.{properties.minor}',
        multiprocessors=properties.multi_processor_count,
        count=torch.cuda.device_count(),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
    )


def progress(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
