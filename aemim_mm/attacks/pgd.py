"""Projected gradient ascent, in whatever units the caller uses."""

import torch

from ..errors import unknown_name
from .balls import STARTS, ball_around


def pgd(objective, x, *, eps, step_size, steps, lower, upper, start='uniform', observe=None, norm='linf', momentum=0.0):
    """Maximise ``objective`` inside the L-inf or L2 ball around ``x``.

    Args:
        objective: Maps images (B, C, H, W) to a scalar. Summed over the batch, so that images do not share a step.
        x: Clean images, (B, C, H, W).
        eps, step_size: Radius and step in the units of ``x``, broadcastable to it.
        steps: Number of gradient steps, >= 0.
        lower, upper: The valid range of a pixel in the units of ``x``, broadcastable to it.
        start: ``uniform`` in the ball, ``gaussian`` with deviation eps / 2 (clipped to the ball), or ``zero``. A
            feature distance between equal networks has no gradient at zero.
        observe: Called with (objective value, gradient) at each step.
        norm: ``linf`` (steps along the sign of the gradient) or ``l2`` (along the gradient).
        momentum: Share of the past steps' direction that is kept, >= 0. MI-FGSM takes 1.

    Returns:
        Perturbed images, detached, with ``|x_adv - x| <= eps`` and inside the valid range.

    Raises:
        UserError: An unknown start or norm.

    Source: Madry et al., arXiv 1706.06083, eq. 2; momentum: Dong et al., arXiv 1710.06081, eq. 6.
    """
    if start not in STARTS:
        raise unknown_name('start', start, STARTS)
    ball = ball_around(x.detach(), norm=norm, eps=eps, lower=lower, upper=upper)
    x_adv, velocity = ball.start(start), 0
    for _ in range(steps):
        x_adv.requires_grad_(True)
        with torch.enable_grad():
            value = objective(x_adv)
        (gradient,) = torch.autograd.grad(value, x_adv)
        if observe is not None:
            observe(value.detach(), gradient)
        if momentum:
            mean = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
            velocity = gradient = momentum * velocity + gradient / mean.clamp_min(1e-12)
        x_adv = ball.project(x_adv.detach() + step_size * ball.direction(gradient))
    return x_adv.detach()


def fgsm(objective, x, *, eps, lower, upper, norm='linf'):
    """One step of size ``eps`` from the clean images; arguments and result as of :func:`pgd`.

    Source: Goodfellow et al., arXiv 1412.6572, section 4.
    """
    return pgd(objective, x, eps=eps, step_size=eps, steps=1, lower=lower, upper=upper, start='zero', norm=norm)
