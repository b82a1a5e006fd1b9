"""Estimate time and memory of trainings on GPUs from counted costs. These are estimates, not measurements."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """Published rates of a GPU.

    Attributes:
        peak: Dense products in bfloat16, TFLOP/s; in float16 where there is no bfloat16.
        bandwidth: Memory, TB/s.
        float32_peak: Products in float32, TFLOP/s, if the attack runs in float32: so it does in training in float16.
    """

    peak: float
    bandwidth: float
    float32_peak: float | None = None


GPUS = {
    'V100': Gpu(125, 0.9, 15.7),
    'RTX 4090': Gpu(165, 1.01),
    'A100': Gpu(312, 2.04),
    'H100 SXM': Gpu(989, 3.35),
}
# Assumptions: the shares of the published rates that products, and other kernels, reach; and the time in which the GPU
# waits for the host, milliseconds for a step.
PRODUCTS, KERNELS, HOST = 0.6, 0.67, 10.0
BATCH = 512
IMAGENET_IMAGES, EPOCHS = 1_281_167, 800
STEP_GPUS = ('A100', 'H100 SXM')


def step_time(cost: dict, gpu: Gpu) -> dict:
    """Estimate the milliseconds of a step of ``BATCH`` images: products, all other kernels, and the host in sequence.

    The other kernels are bound by memory. The optimizer and the communication of GPUs are left out.

    Args:
        cost: Counted costs, as of ``count_costs.py``.
        gpu: The GPU.

    Returns:
        ``products``, ``kernels``, ``host``, their sum ``step``, all in milliseconds, and ``images_per_second``.
    """
    attack = cost['attack_gflop_per_image']
    rates = gpu.peak, gpu.float32_peak or gpu.peak
    gflop = zip((cost['gflop_per_image'] - attack, attack), rates)
    products = BATCH * sum(count / (PRODUCTS * rate) for count, rate in gflop)
    kernels = BATCH * cost['moved_mb_per_image'] / (1e3 * KERNELS * gpu.bandwidth)
    step = products + kernels + HOST
    return dict(products=products, kernels=kernels, host=HOST, step=step, images_per_second=1e3 * BATCH / step)


def memory(costs: dict) -> dict:
    """Bytes on a GPU for each parameter, and the effect of ZeRO-1 on 8 GPUs, by model."""
    rows = {}
    for name, cost in costs.items():
        # Weights 4, gradients 4, AdamW 8, DDP's buckets 4, weights in bfloat16 2; AEMIM also keeps the clean gradients.
        fixed = (26 if name.startswith('ae') else 22) * cost['parameters_m'] / 1e3
        saved = (cost['optimizer_mb'] - cost['zero1_mb']) / 1e3
        images = 1e3 * saved / cost['activations_mb_per_image']
        rows[name] = dict(cost, fixed_gb=fixed, saved_gb=saved, saved_images=images)
    return rows


def gpu_hours(costs: dict) -> dict:
    """Estimated hours of a pre-training on ImageNet-1K, by GPU."""
    return {
        name: vars(gpu)
        | {
            model: EPOCHS * IMAGENET_IMAGES / step_time(cost, gpu)['images_per_second'] / 3600
            for model, cost in costs.items()
        }
        for name, gpu in GPUS.items()
    }


def gpu_steps(costs: dict) -> dict:
    """Parts of the estimated time of a step, by GPU and model."""
    return {f'{name}, {model}': step_time(cost, GPUS[name]) for name in STEP_GPUS for model, cost in costs.items()}


def largest_batches(costs: dict) -> dict:
    """Images that fit into 90 % of a GPU's memory beside weights, gradients and optimizer states, by size in GB."""
    return {
        str(size): {
            name: int(1e3 * (0.9 * size - row['fixed_gb']) / row['activations_mb_per_image'])
            for name, row in memory(costs).items()
        }
        for size in (24, 40, 80)
    }
