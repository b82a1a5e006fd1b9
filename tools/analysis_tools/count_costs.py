#!/usr/bin/env python
"""Count the costs of a pre-training step on a CPU: operations and activations of an image, and optimizer states.

Example:
    python tools/analysis_tools/count_costs.py configs/baselines/mae_vit-b_800e.py configs/aemim_vit-b_800e.py
"""

import argparse
from pathlib import Path

# Images of the smaller of two steps. An attack on a half, a third or a quarter of a batch has whole images; of a step
# that has to be computed, on a half or a quarter.
BATCH, COMPUTED_BATCH = 12, 4


def main():
    parser = argparse.ArgumentParser(description='Count the costs of a pre-training step, for one image.')
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config of a pre-training')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    args = parser.parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.benchmark.table import COST_COLUMNS
    from aemim_mm.launch import one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    with one_clear_error():
        costs = {Path(path).stem: count_costs(path) for path in args.configs}
        print(markdown_table(costs, COST_COLUMNS))
        if args.record:
            write_record(args.record, costs, config=args.configs)


def count_costs(path: str) -> dict:
    """Return the figures of ``COST_COLUMNS``: activations in bfloat16, and AdamW's states in float32.

    ``moved_mb_per_image`` is the memory traffic of all operations but products. ``attack_*`` are the attack's shares.
    """
    from aemim_mm.benchmark.step_cost import batches, counted
    from aemim_mm.launch import load_config

    cfg = load_config(path)
    data = {images: batches(cfg, (images, 2 * images)) for images in (COMPUTED_BATCH, BATCH)}
    return counted(lambda computed: _figures(cfg, data, COMPUTED_BATCH if computed else BATCH))


def _figures(cfg, data, images: int) -> dict:
    from mmengine.optim import build_optim_wrapper
    from mmpretrain.registry import MODELS

    from aemim_mm.benchmark.counting import largest_share
    from aemim_mm.benchmark.step_cost import step_cost

    model = MODELS.build(cfg.model).train()
    # The difference of two batches leaves out what a step keeps once, such as the weights in bfloat16.
    (one, attack_one), (two, attack_two) = (step_cost(model, batch) for batch in data[images])
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    # AdamW keeps no states of parameters without gradients, such as those of a target network.
    sizes = [[value.numel() for value in group['params'] if value.grad is not None] for group in groups]
    count = sum(map(sum, sizes))
    return dict(
        parameters_m=count / 1e6,
        gflop_per_image=(two.flops - one.flops) / images / 1e9,
        attack_gflop_per_image=(attack_two.total - attack_one.total) / images / 1e9,
        moved_mb_per_image=(two.moved - one.moved) / images / 1e6,
        attack_moved_mb_per_image=(attack_two.moved - attack_one.moved) / images / 1e6,
        activations_mb_per_image=(two.kept - one.kept) / images / 1e6,
        optimizer_mb=8 * count / 1e6,
        zero1_mb=8 * largest_share(sizes, 8) / 1e6,
    )


if __name__ == '__main__':
    main()
