#!/usr/bin/env python
"""Measure how many images a worker loads in a second: reading, decoding, and the transforms of a config.

Run it while the machine is idle. A loader of N workers on N free cores loads N times as many.

Example:
    python tools/analysis_tools/loading_rate.py configs/aemim_vit-b_800e.py --data-root DIR
"""

import argparse
from time import perf_counter


def main():
    parser = argparse.ArgumentParser(description='Measure the images a second of one worker of the data loader.')
    parser.add_argument('config', help='config file of a training')
    parser.add_argument('--images', type=int, default=512, help='images to load (default: 512)')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    parser.add_argument('--data-root', metavar='DIR', help='as for tools/train.py')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='as for tools/train.py')
    args = parser.parse_args()
    if args.images < 1:
        parser.error('--images is at least 1')
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.launch import load_config, one_clear_error
    from aemim_mm.report.record import write_record

    with one_clear_error():
        cfg = load_config(args.config, options=args.cfg_options, data_root=args.data_root)
        rate = images_per_second(cfg, args.images)
        print(f'{rate:.1f} images/s in one worker')
        if args.record:
            write_record(args.record, dict(images_per_second=rate), config=args.config, seed=0)


def images_per_second(cfg, count: int) -> float:
    """Load images in random order as a worker does, with one thread."""
    import cv2
    import numpy as np
    import torch
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import DATASETS

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    np.random.seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    order = np.random.default_rng(0).integers(len(dataset), size=count + 1)
    dataset[int(order[0])]  # The first access builds what later ones reuse.
    start = perf_counter()
    for index in order[1:]:
        dataset[int(index)]
    return count / (perf_counter() - start)


if __name__ == '__main__':
    main()
