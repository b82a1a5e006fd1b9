"""The set an attack may move in: an L-inf or L2 ball around each image, inside the valid range of a pixel."""

import torch

from ..errors import unknown_name

STARTS = {
    'uniform': lambda x, eps: (torch.rand_like(x) * 2 - 1) * eps,
    'gaussian': lambda x, eps: torch.randn_like(x) * eps / 2,
    'zero': lambda x, eps: torch.zeros_like(x),
}


class LInfBall:
    """At most ``eps`` from each value of ``x``.

    Args:
        x: Images, (B, C, H, W).
        eps: Radius, broadcastable to ``x``.
        lower, upper: The valid range, broadcastable to ``x``. A pixel outside it (the overshoot of a bicubic resize)
            may stay where it is, but not go further.
    """

    def __init__(self, x, eps, lower, upper):
        self.x, self.eps = x, eps
        self.low = torch.maximum(x - eps, torch.minimum(lower, x))
        self.high = torch.minimum(x + eps, torch.maximum(upper, x))

    def project(self, images):
        """The nearest images of the ball."""
        return torch.clamp(images, self.low, self.high)

    def start(self, name: str):
        """Images of the ball to start from: ``uniform``, ``gaussian`` with deviation eps / 2 (clipped), or ``zero``."""
        return self.project(self.x + STARTS[name](self.x, self.eps))

    def direction(self, gradient):
        """The step of size 1 that raises a linear function the most."""
        return gradient.sign()


class L2Ball:
    """At most ``eps`` from each image of ``x`` in the L2 norm over all its values; arguments as of ``LInfBall``."""

    def __init__(self, x, eps, lower, upper):
        self.x, self.eps = x, eps
        self.low, self.high = torch.minimum(lower, x), torch.maximum(upper, x)

    def project(self, images):
        """Back to the ball, then to the valid range. As that holds ``x``, it leads no further away from ``x``."""
        delta = images - self.x
        inside = self.x + delta * (self.eps / l2_norm(delta).clamp_min(1e-12)).clamp_max(1)
        return torch.clamp(inside, self.low, self.high)

    def start(self, name: str):
        """``uniform`` in the ball, ``gaussian`` with a norm of about eps / 2, or ``zero``."""
        if name == 'zero':
            return self.project(self.x)
        size = self.x[0].numel()
        direction = torch.randn_like(self.x)
        if name == 'gaussian':
            return self.project(self.x + direction * self.eps / 2 / size**0.5)
        # A ball's volume grows as radius ** size.
        radius = torch.rand_like(self.x[:, :1, :1, :1]) ** (1 / size)
        return self.project(self.x + direction / l2_norm(direction) * radius * self.eps)

    def direction(self, gradient):
        """The step of size 1 that raises a linear function the most; none where the gradient is zero."""
        return gradient / l2_norm(gradient).clamp_min(1e-12)


BALLS = {'linf': LInfBall, 'l2': L2Ball}


def ball_around(x, *, norm, eps, lower, upper):
    """The ball of that norm.

    Raises:
        UserError: An unknown norm.
    """
    if norm not in BALLS:
        raise unknown_name('norm', norm, BALLS)
    lower, upper = (bound if isinstance(bound, torch.Tensor) else x.new_tensor(bound) for bound in (lower, upper))
    return BALLS[norm](x, eps, lower, upper)


def l2_norm(x):
    """The L2 norm of each image, (B, 1, 1, 1)."""
    return x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
