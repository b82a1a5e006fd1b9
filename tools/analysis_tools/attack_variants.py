#!/usr/bin/env python
"""Compare cheaper attacks in pre-training: their strength at the encoder's final features, and their cost.

Example:
    python tools/analysis_tools/attack_variants.py configs/demo/aemim_vit-tiny_16e_fashion-mnist.py \
        work_dirs/demo/aemim/epoch_16.pth --layers 1 2 3
"""

import argparse
import tempfile
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description='Compare cheaper attacks in pre-training: strength and cost.')
    parser.add_argument('config', help='config of an adversarial pre-training')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint of this config (default: initial weights)')
    parser.add_argument('--layers', type=int, nargs='+', default=[], metavar='K', help='attack the first K layers')
    parser.add_argument('--batch-size', type=int, default=32, help='images in a batch (default: 32)')
    parser.add_argument('--repetitions', type=int, default=4, metavar='N', help='number of batches (default: 4)')
    parser.add_argument('--device', default=None, help='cpu, cuda, cuda:1 (default: cuda if the machine has a GPU)')
    parser.add_argument('--data-root', metavar='DIR', help='data folder (default: as for benchmark.py)')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py')
    args = parser.parse_args()
    if args.batch_size < 1 or args.repetitions < 1:
        parser.error('--batch-size and --repetitions are at least 1')
    # Imported here, because these imports take seconds and --help needs none of them.
    from mmengine.logging import MMLogger

    from aemim_mm import benchmark
    from aemim_mm.apis.pretrained import load_weights
    from aemim_mm.benchmark.attack_variants import COLUMNS, compare_attacks
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    MMLogger.get_current_instance().setLevel('WARNING')
    with one_clear_error(), tempfile.TemporaryDirectory() as folder:
        candidate = benchmark.from_config(
            'attacks',
            args.config,
            args.cfg_options,
            data_root=args.data_root,
            stand_in=benchmark.synthetic_imagenet(Path(folder)),
            device=benchmark.choose_device(args.device),
            batch_size=args.batch_size,
            precision='float32',
        )
        if args.checkpoint:
            load_weights(candidate.model, args.checkpoint, args.trust_checkpoint)
        rows = compare_attacks(candidate, args.layers, repetitions=args.repetitions)
        print(markdown_table(rows, COLUMNS))
        if args.record:
            write_record(args.record, rows, config=' '.join([args.config, *args.cfg_options]), seed=0)


if __name__ == '__main__':
    main()
