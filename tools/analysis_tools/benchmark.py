#!/usr/bin/env python
"""Compare training steps of configs: the time of each stage, memory and FLOPs, as ratios to the first config.

Example:
    python tools/analysis_tools/benchmark.py                          # the configs of docs/performance.md
    python tools/analysis_tools/benchmark.py configs/baselines/mae_vit-b_800e.py \
        'configs/aemim_vit-b_800e.py data_preprocessor.steps=1' --data-root /path/to/imagenet --batch-size 128
"""

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
MAE, AEMIM = CONFIGS / 'baselines/mae_vit-b_800e.py', CONFIGS / 'aemim_vit-b_800e.py'
OURS = ('model.backbone.type=AEMIMViT', 'model.neck.type=AEMIMDecoder', 'model.head.type=AEMIMHead')
DEFAULT = [
    ('MAE of mmpretrain', MAE, ('optim_wrapper.optimizer.type=AdamW',)),
    ('MAE on our backbone', MAE, OURS),
    ('MAE balanced', CONFIGS / 'baselines/mae-balanced_vit-b_800e.py', ()),
    ('MAE fast', CONFIGS / 'baselines/mae-fast_vit-b_800e.py', ()),
    ('MAE, cross decoder', CONFIGS / 'baselines/mae-cross_vit-b_800e.py', ()),
    ('AEMIM', AEMIM, ()),
    ('AEMIM, cross decoder', CONFIGS / 'aemim-cross_vit-b_800e.py', ()),
    ('AEMIM balanced', CONFIGS / 'aemim-balanced_vit-b_800e.py', ()),
    ('AEMIM fast', CONFIGS / 'aemim-fast_vit-b_800e.py', ()),
]
# The row of MAE with the same decoder, which decodes the same share of the patches.
MATCHED = {
    'AEMIM': 'MAE on our backbone',
    'AEMIM, cross decoder': 'MAE, cross decoder',
    'AEMIM balanced': 'MAE balanced',
    'AEMIM fast': 'MAE fast',
}


def parse_args():
    parser = argparse.ArgumentParser(description='Compare training steps of configs.')
    parser.add_argument(
        'candidates',
        nargs='*',
        metavar='CONFIG',
        help="a config, or in quotes 'CONFIG KEY=VALUE ...'; the first is the base of all ratios "
        '(default: MAE, AEMIM and its presets, ViT-B/16)',
    )
    parser.add_argument('--batch-size', type=int, default=8, help='images in a step (default: 8)')
    parser.add_argument(
        '--repetitions', '--rounds', type=int, default=5, metavar='N', help='timed steps of each candidate (default: 5)'
    )
    parser.add_argument(
        '--precision',
        choices=['float32', 'bfloat16', 'config'],
        default='float32',
        help="precision of all candidates; 'config' keeps the configs' (default: float32)",
    )
    parser.add_argument('--device', default=None, help='cpu, cuda, cuda:1 (default: cuda if the machine has a GPU)')
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="data folder that replaces the configs' (default: theirs; synthetic images if ImageNet is missing)",
    )
    parser.add_argument(
        '--peers',
        nargs='*',
        metavar='NAME',
        help='also measure MAE of transformers and lightly (default without names: all that are installed)',
    )
    parser.add_argument('--record', '--out', metavar='FILE', help='write the figures as a record, JSON')
    args = parser.parse_args()
    if args.batch_size < 1 or args.repetitions < 1:
        parser.error('--batch-size and --repetitions are at least 1')
    return args


def named(candidates: list[str]) -> Sequence[tuple[str, str, Sequence[str]]]:
    """Return the name, the config and the options of each candidate on the command line."""
    if not candidates:
        return DEFAULT
    # The path of a config may have spaces.
    found = [re.fullmatch(r'(.+?\.(?:py|json|ya?ml))(\s.*)?|(\S+)(.*)', candidate) for candidate in candidates]
    words = [(match[1] or match[3], shlex.split(match[2] or match[4] or '')) for match in found if match]
    return [(' '.join([Path(config).stem, *options]), config, options) for config, options in words]


def main():
    args = parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from mmengine.logging import MMLogger

    from aemim_mm import benchmark
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.record import write_record

    benchmark.keep_freed_memory()
    MMLogger.get_current_instance().setLevel('WARNING')
    with one_clear_error(), tempfile.TemporaryDirectory() as folder:
        device = benchmark.choose_device(args.device)
        settings: dict[str, Any] = dict(
            data_root=args.data_root,
            stand_in=benchmark.synthetic_imagenet(Path(folder)),
            device=device,
            batch_size=args.batch_size,
            precision=args.precision,
        )
        chosen = named(args.candidates)
        candidates = [benchmark.from_config(*candidate, **settings) for candidate in chosen]
        if args.peers is not None:
            names = args.peers or benchmark.peers.installed()
            candidates += [benchmark.from_peer(name, *chosen[0][1:], **settings) for name in names]
        machine = benchmark.Machine(device)
        values = benchmark.figures(
            benchmark.compare(
                candidates, machine, repetitions=args.repetitions, batch_size=args.batch_size, progress=progress
            ),
            machine,
            {} if args.candidates else MATCHED,
        )
        print(benchmark.report(values, machine))
        if args.record:
            kept = dict(batch_size=args.batch_size, precision=args.precision, repetitions=args.repetitions)
            configs = {name: ' '.join([str(config), *options]) for name, config, options in chosen}
            write_record(args.record, {**kept, **values}, config=configs, seed=0)


def progress(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
