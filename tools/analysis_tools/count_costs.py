#!/usr/bin/env python
"""Count the costs of a pre-training step on a CPU: operations and activations of an image, and optimizer states.

Example:
    python tools/analysis_tools/count_costs.py configs/baselines/mae_vit-b_800e.py configs/aemim_vit-b_800e.py
"""

import argparse
from pathlib import Path

BATCH = 12


def main():
    parser = argparse.ArgumentParser(description='Count the costs of a pre-training step, for one image.')
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a pre-training')
    parser.add_argument('--size', type=int, default=224, help='side of the images in pixels (default: 224)')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    args = parser.parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.benchmark.table import COST_COLUMNS
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    with one_clear_error():
        costs = {Path(path).stem: count_costs(path, args.size) for path in args.configs}
        print(markdown_table(costs, COST_COLUMNS))
        if args.record:
            write_record(args.record, costs, config=args.configs)


def count_costs(path: str, size: int) -> dict:
    """Return the figures of ``COST_COLUMNS``: activations in bfloat16, and AdamW's states in float32.

    ``moved_mb_per_image`` is the memory traffic of all operations but products. ``attack_*`` are the attack's shares.
    """
    from mmpretrain.registry import MODELS

    from aemim_mm.benchmark.step_cost import nothing_computed
    from aemim_mm.launch import load_config

    cfg = load_config(path)
    with nothing_computed():
        return _figures(cfg, MODELS.build(cfg.model).train(), size)


def _figures(cfg, model, size: int) -> dict:
    from mmengine.optim import build_optim_wrapper

    from aemim_mm.benchmark.counting import largest_share
    from aemim_mm.benchmark.step_cost import step_cost

    # The difference of two batches leaves out what a step keeps once, such as the weights in bfloat16. An attack on a
    # half, a third or a quarter of a batch has whole images.
    (one, attack_one), (two, attack_two) = (step_cost(model, count, size) for count in (BATCH, 2 * BATCH))
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    sizes = [[value.numel() for value in group['params']] for group in groups]
    count = sum(map(sum, sizes))
    return dict(
        parameters_m=count / 1e6,
        gflop_per_image=(two.flops - one.flops) / BATCH / 1e9,
        attack_gflop_per_image=(attack_two.total - attack_one.total) / BATCH / 1e9,
        moved_mb_per_image=(two.moved - one.moved) / BATCH / 1e6,
        attack_moved_mb_per_image=(attack_two.moved - attack_one.moved) / BATCH / 1e6,
        activations_mb_per_image=(two.kept - one.kept) / BATCH / 1e6,
        optimizer_mb=8 * count / 1e6,
        zero1_mb=8 * largest_share(sizes, 8) / 1e6,
    )


if __name__ == '__main__':
    main()
