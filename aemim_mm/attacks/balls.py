"""The images that an attack may reach: an L-inf or L2 ball around each image, inside the valid pixel range."""

import torch

from ..errors import unknown_name

Bound = torch.Tensor | float

STARTS = {
    'uniform': lambda x, eps: (torch.rand_like(x) * 2 - 1) * eps,
    'gaussian': lambda x, eps: torch.randn_like(x) * eps / 2,
    'zero': lambda x, eps: torch.zeros_like(x),
}


class LInfBall:
    """All images whose values are at most ``eps`` from those of ``x``.

    Args:
        x: Images, (B, C, H, W).
        eps: Radius, broadcastable to ``x``.
        lower, upper: The valid range, broadcastable to ``x``. A value of ``x`` outside it, as a bicubic resize makes
            them, may keep its value, but not move further out.
    """

    def __init__(self, x: torch.Tensor, eps: Bound, lower: Bound, upper: Bound):
        self.x, self.eps = x, eps
        # ``clamp`` takes numbers as they are; as tensors, they would be copied to the device at each step.
        self.low = torch.maximum(x - eps, x.clamp(max=lower))
        self.high = torch.minimum(x + eps, x.clamp(min=upper))

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """Return the nearest images in the ball."""
        return torch.clamp(images, self.low, self.high)

    def start(self, name: str) -> torch.Tensor:
        """Draw images in the ball: ``uniform``, ``gaussian`` with deviation eps / 2 (clipped), or ``zero`` (``x``)."""
        return self.project(self.x + STARTS[name](self.x, self.eps))

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the step of size 1 that increases a linear function the most."""
        return gradient.sign()


class L2Ball:
    """All images whose L2 distance from those of ``x`` is at most ``eps``; arguments as in ``LInfBall``."""

    def __init__(self, x: torch.Tensor, eps: Bound, lower: Bound, upper: Bound):
        self.x, self.eps = x, eps
        self.low, self.high = x.clamp(max=lower), x.clamp(min=upper)

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """Project to the ball, then clip to the valid range, which contains ``x`` and so does not leave the ball."""
        delta = images - self.x
        inside = self.x + delta * (self.eps / l2_norm(delta).clamp_min(1e-12)).clamp_max(1)
        return torch.clamp(inside, self.low, self.high)

    def start(self, name: str) -> torch.Tensor:
        """Draw images in the ball: ``uniform``, ``gaussian`` with a norm of about eps / 2, or ``zero`` (``x``)."""
        if name == 'zero':
            return self.project(self.x)
        size = self.x[0].numel()
        direction = torch.randn_like(self.x)
        if name == 'gaussian':
            return self.project(self.x + direction * self.eps / 2 / size**0.5)
        # The volume of a ball is proportional to radius ** size.
        radius = torch.rand_like(self.x[:, :1, :1, :1]) ** (1 / size)
        return self.project(self.x + direction / l2_norm(direction) * radius * self.eps)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the step of size 1 that increases a linear function the most; 0 for a gradient of zero."""
        return gradient / l2_norm(gradient).clamp_min(1e-12)


BALLS = {'linf': LInfBall, 'l2': L2Ball}


def ball_around(x: torch.Tensor, *, norm: str, eps: Bound, lower: Bound, upper: Bound) -> LInfBall | L2Ball:
    """Return an ``LInfBall`` or ``L2Ball``.

    Args:
        x: Images, (B, C, H, W).
        norm: ``linf`` or ``l2``.
        eps: Radius in the unit of ``x``.
        lower, upper: The valid range, numbers or tensors.

    Raises:
        UserError: An unknown norm.
    """
    if norm not in BALLS:
        raise unknown_name('norm', norm, BALLS)
    return BALLS[norm](x, eps, lower, upper)


def l2_norm(x: torch.Tensor) -> torch.Tensor:
    """Compute the L2 norm of each image, (B, 1, 1, 1)."""
    return x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
