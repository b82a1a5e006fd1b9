"""Estimate the time of a training step on a GPU from counted costs. These are estimates, not measurements."""

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
