#!/usr/bin/env python
"""Measure how far noise and the attack of a pre-training move the features of its encoder, at several eps.

The unit is the spread of the features of clean images, so that data sets and encoders can be compared. Without a
checkpoint, the encoder is that of the first step, untrained.

Examples:
    python tools/analysis_tools/movement.py configs/aemim_vit-b_folder.py --data-root DIR
    python tools/analysis_tools/movement.py configs/aemim_vit-b_folder.py epoch_300.pth --data-root DIR --eps 2 8 32
"""

import argparse
from typing import Any


def main():
    parser = argparse.ArgumentParser(description='Measure how far noise and the attack move the features, by eps.')
    parser.add_argument('config', help='config of a pre-training by AEMIM')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint of this config (default: the untrained encoder)')
    parser.add_argument('--eps', type=float, nargs='+', default=[1, 2, 4, 8, 16, 32, 64], metavar='E', help='radii')
    parser.add_argument('--trust-checkpoint', action='store_true', help='run whatever code the checkpoint contains')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    parser.add_argument('--data-root', metavar='DIR', help='as for tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py')
    args = parser.parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.launch import load_config, one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    with one_clear_error():
        cfg = load_config(args.config, options=args.cfg_options, data_root=args.data_root)
        found = movement(cfg, args.checkpoint, args.eps, args.trust_checkpoint)
        print(markdown_table(found, {'eps': '{name}', 'noise': '{noise:.3f}', 'attack': '{attack:.3f}'}))
        if args.record:
            write_record(args.record, found, config=args.config, seed=0)


def movement(cfg, checkpoint, radii, trusted=False) -> dict:
    """Return eps to the mean movement under noise and under the attack, of the first batch of the training."""
    from mmengine.runner import Runner, set_random_seed

    from aemim_mm.apis.pretrained import build_adversarial_model
    from aemim_mm.models.movement import feature_movement

    model: Any = build_adversarial_model(cfg, checkpoint, trusted)
    set_random_seed(0)  # The data are augmented.
    # A folder may have fewer images than a batch.
    batch = next(iter(Runner.build_dataloader(dict(cfg.train_dataloader, drop_last=False), seed=0)))
    found = {}
    for eps in radii:
        set_random_seed(0)
        # The preprocessor changes the batch that it is given.
        moved = feature_movement(model, **model.data_preprocessor(dict(batch), False), eps=eps)
        found[f'{eps:g}'] = dict(noise=float(moved.noise.mean()), attack=float(moved.attack.mean()))
    return found


if __name__ == '__main__':
    main()
