#!/usr/bin/env python
"""Compare training steps of configs side by side: time by parts, memory, FLOPs, as ratios to the first.

Example:
    python tools/analysis_tools/benchmark.py                          # the configs of docs/performance.md
    python tools/analysis_tools/benchmark.py configs/baselines/mae_vit-b_800e.py \
        'configs/aemim_vit-b_800e.py data_preprocessor.steps=1' --data-root /path/to/imagenet --batch-size 128
"""

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
MAE, AEMIM = CONFIGS / 'baselines/mae_vit-b_800e.py', CONFIGS / 'aemim_vit-b_800e.py'
OURS = ('model.backbone.type=AEMIMViT', 'model.neck.type=AEMIMDecoder', 'model.head.type=AEMIMHead')
DEFAULT = [
    ('MAE of mmpretrain', MAE, ('optim_wrapper.optimizer.type=AdamW',)),
    ('MAE on our backbone', MAE, OURS),
    ('AEMIM', AEMIM, ()),
    ('AEMIM, attack in bfloat16', AEMIM, ('model.attack_precision=bfloat16',)),
    ('AEMIM balanced', CONFIGS / 'aemim-balanced_vit-b_800e.py', ()),
    ('AEMIM fast', CONFIGS / 'aemim-fast_vit-b_800e.py', ()),
]


def parse_args():
    parser = argparse.ArgumentParser(description='Compare training steps of configs side by side.')
    parser.add_argument(
        'contenders',
        nargs='*',
        metavar='CONFIG',
        help="a config, or in quotes 'CONFIG KEY=VALUE ...'; the first is what the others are compared with "
        '(default: MAE, AEMIM and its presets, ViT-B/16)',
    )
    parser.add_argument('--batch-size', type=int, default=8, help='images in a step (default: 8)')
    parser.add_argument('--rounds', type=int, default=5, help='steps of each that are timed (default: 5)')
    parser.add_argument(
        '--precision',
        choices=['float32', 'bfloat16', 'config'],
        default='float32',
        help="of all contenders; 'config': what each config says (default: float32)",
    )
    parser.add_argument('--device', default=None, help='cpu, cuda, cuda:1 (default: cuda where there is one)')
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help='data in place of that of the configs (default: theirs; made-up photographs where ImageNet is missing)',
    )
    parser.add_argument(
        '--peers', nargs='*', metavar='NAME', help='MAE of transformers and lightly too; without names, the installed'
    )
    parser.add_argument('--out', metavar='FILE', help='write all figures there, as JSON')
    args = parser.parse_args()
    if args.batch_size < 1 or args.rounds < 1:
        parser.error('--batch-size and --rounds are at least 1')
    return args


def entrants(contenders):
    """Name, config and options of each."""
    if not contenders:
        return DEFAULT
    words = [shlex.split(contender) for contender in contenders]
    return [(' '.join([Path(config).stem, *options]), config, options) for config, *options in words]


def main():
    args = parse_args()
    # Only now: importing the stack takes seconds, and --help should not.
    import torch
    from mmengine.logging import MMLogger

    from aemim_mm import benchmark
    from aemim_mm.launch import one_clear_error

    benchmark.keep_freed_memory()
    MMLogger.get_current_instance().setLevel('WARNING')
    with one_clear_error(), tempfile.TemporaryDirectory() as folder:
        device = benchmark.choose_device(args.device)
        settings = dict(data_root=args.data_root, stand_in=benchmark.photographs(Path(folder)), device=device)
        settings.update(batch_size=args.batch_size, precision=args.precision)
        chosen = entrants(args.contenders)
        contenders = [benchmark.from_config(*entrant, **settings) for entrant in chosen]
        if args.peers is not None:
            names = args.peers or benchmark.peers.installed()
            contenders += [benchmark.from_peer(name, chosen[0][1], **settings) for name in names]
        machine = benchmark.Machine(device)
        results = benchmark.compare(
            contenders, machine, rounds=args.rounds, batch_size=args.batch_size, progress=progress
        )
        print(benchmark.table(results, machine))
        if args.out:
            kept = dict(precision=args.precision, rounds=args.rounds, data_root=args.data_root, torch=torch.__version__)
            Path(args.out).write_text(json.dumps(benchmark.to_json(results, machine, kept), indent=1) + '\n')


def progress(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
