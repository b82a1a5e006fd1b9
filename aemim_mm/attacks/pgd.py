"""Projected gradient ascent, in whatever units the caller uses."""

import torch

from ..errors import one_of

STARTS = {
    'uniform': lambda x, eps: (torch.rand_like(x) * 2 - 1) * eps,
    'gaussian': lambda x, eps: torch.randn_like(x) * eps / 2,
    'zero': lambda x, eps: torch.zeros_like(x),
}


def pgd(objective, x, *, eps, step_size, steps, lower, upper, start='uniform', observe=None):
    """Maximise ``objective`` inside the L-inf ball around ``x``.

    Args:
        objective: Maps images (B, C, H, W) to a scalar. Summed over the batch, so that images do not share a step.
        x: Clean images, (B, C, H, W).
        eps, step_size: Radius and step in the units of ``x``, broadcastable to it.
        steps: Number of gradient steps, >= 0.
        lower, upper: The valid range of a pixel in the units of ``x``, broadcastable to it.
        start: ``uniform`` in the ball, ``gaussian`` with deviation eps / 2 (clipped to the ball), or ``zero``. A
            feature distance between equal networks has no gradient at zero.
        observe: Called with (objective value, gradient) at each step.

    Returns:
        Perturbed images, detached, with ``|x_adv - x| <= eps`` and inside the valid range.

    Source: Madry et al., arXiv 1706.06083, eq. 2.
    """
    if start not in STARTS:
        raise one_of('start', start, STARTS)
    x = x.detach()
    # A pixel outside the valid range (the overshoot of a bicubic resize) may stay where it is, but not go further.
    low, high = torch.maximum(x - eps, torch.minimum(lower, x)), torch.minimum(x + eps, torch.maximum(upper, x))
    x_adv = torch.clamp(x + STARTS[start](x, eps), low, high)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        with torch.enable_grad():
            value = objective(x_adv)
        (gradient,) = torch.autograd.grad(value, x_adv)
        if observe is not None:
            observe(value.detach(), gradient)
        x_adv = torch.clamp(x_adv.detach() + step_size * gradient.sign(), low, high)
    return x_adv.detach()
