#!/usr/bin/env python
"""Count, on a CPU, what a pre-training step costs for each image: FLOPs and kept activations; and optimizer states.

Example:
    python tools/analysis_tools/count_costs.py configs/baselines/mae_vit-b_800e.py configs/aemim_vit-b_800e.py
"""

import argparse


def main():
    parser = argparse.ArgumentParser(description='Count what a pre-training step costs, for each image.')
    parser.add_argument('configs', nargs='+', help='of pre-training models')
    parser.add_argument('--size', type=int, default=224, help='of the images, in pixels (default: 224)')
    args = parser.parse_args()
    # Only now: importing the stack takes seconds, and --help should not.
    import torch
    from mmengine.config import Config
    from mmpretrain.registry import MODELS

    from aemim_mm.benchmark.counting import cost_of, largest_share

    for path in args.configs:
        cfg = Config.fromfile(path)
        if cfg.get('data_preprocessor'):
            cfg.model.data_preprocessor = cfg.data_preprocessor
        model = MODELS.build(cfg.model).train()

        def cost(images, model=model):
            pictures = torch.rand(images, getattr(model.head, 'in_channels', 3), args.size, args.size) * 255
            data = model.data_preprocessor(dict(inputs=pictures, data_samples=None))
            return cost_of(lambda: model.parse_losses(model.loss(**data))[0], model.parameters())

        # What two more images add: weights in bfloat16 are kept too, once for all images.
        one, three = cost(1), cost(3)
        sizes = [value.numel() for value in model.parameters() if value.requires_grad]
        print(
            f'{path}: {sum(sizes) / 1e6:.1f} M parameters; for each image {(three.flops - one.flops) / 2e9:.1f} GFLOP '
            f'and {(three.kept - one.kept) / 2e6:.0f} MB kept; optimizer states {8 * sum(sizes) / 1e6:.0f} MB, with '
            f'ZeRO-1 on 8 processes at most {8 * largest_share(sizes, 8) / 1e6:.0f} MB'
        )


if __name__ == '__main__':
    main()
