"""Projected gradient ascent: the loop, in any unit, and the attack, whose budget is in pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch

from ..errors import UserError, unknown_name
from .balls import STARTS, ball_around
from .budget import Budget, check_whole
from .gradients import gradients_of
from .pixels import PIXEL_RANGE, PixelSpace, is_number


def pgd(
    objective: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    *,
    eps: torch.Tensor | float,
    step_size: torch.Tensor | float,
    steps: int,
    lower: torch.Tensor | float,
    upper: torch.Tensor | float,
    start: str = 'uniform',
    observe: Callable[[torch.Tensor, torch.Tensor], object] | None = None,
    norm: str = 'linf',
    momentum: float = 0.0,
    halving: bool = False,
) -> torch.Tensor:
    """Maximise ``objective`` inside the L-inf or L2 ball around ``x``.

    Args:
        objective: Maps images (B, C, H, W) to a scalar, summed over the batch so that images do not share a step, or
            to a value for each image, (B,).
        x: Clean images, (B, C, H, W).
        eps, step_size: Radius and step in the units of ``x``, broadcastable to it.
        steps: Number of gradient steps, >= 0.
        lower, upper: The valid range of a pixel in the units of ``x``, broadcastable to it.
        start: ``uniform`` in the ball, ``gaussian`` with deviation eps / 2 (clipped to the ball), or ``zero``. A
            feature distance between equal networks has no gradient at zero.
        observe: Called with (objective value, gradient) at each step.
        norm: ``linf`` (steps along the sign of the gradient) or ``l2`` (along the gradient).
        momentum: Share of the past steps' direction that is kept, >= 0. MI-FGSM uses 1.
        halving: When a step does not increase the objective of an image, go on from the image's best point with half
            the step, and return the best point. This needs a value for each image, and one more of the objective.

    Returns:
        Perturbed images, detached, with ``|x_adv - x| <= eps`` and inside the valid range.

    Raises:
        UserError: An unknown start or norm, or ``halving`` without a value for each image.

    Source: Madry et al., arXiv 1706.06083, eq. 2; momentum: Dong et al., arXiv 1710.06081, eq. 6; ``halving`` is
    Auto-PGD's rule (Croce and Hein, arXiv 2003.01690) applied at each step.
    """
    if start not in STARTS:
        raise unknown_name('start', start, STARTS)
    ball = ball_around(x.detach(), norm=norm, eps=eps, lower=lower, upper=upper)
    x_adv, velocity = ball.start(start), 0
    best, best_gradient, best_value = x_adv, x_adv, x_adv.new_full((len(x),), -inf)
    for _ in range(steps):
        x_adv.requires_grad_(True)
        with torch.enable_grad():
            value = objective(x_adv)
            total = value.sum()
        (gradient,) = gradients_of(total, x_adv)
        if observe is not None:
            observe(total.detach(), gradient)
        if momentum:
            mean = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
            velocity = gradient = momentum * velocity + gradient / mean.clamp_min(1e-12)
        x_adv = x_adv.detach()
        if halving:
            risen = _risen(value, best_value)
            step_size = step_size * torch.where(risen, 1.0, 0.5)
            best_value = value.detach().maximum(best_value)
            best = x_adv = torch.where(risen, x_adv, best)
            best_gradient = gradient = torch.where(risen, gradient, best_gradient)
        x_adv = ball.project(x_adv + step_size * ball.direction(gradient))
    if halving and steps:
        with torch.no_grad():
            x_adv = torch.where(_risen(objective(x_adv), best_value), x_adv, best)
    return x_adv.detach()


def _risen(value: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Whether the objective of each image is above its best one, (B, 1, 1, 1)."""
    if value.dim() != 1:
        raise UserError(f'halving needs an objective for each image, but got one of shape {tuple(value.shape)}.')
    return (value.detach() > best).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent, with its budget and step in pixels. FGSM is one step of size eps from ``zero``.

    Args:
        eps, norm: Budget, as in :class:`Budget`: in pixels, 0-255, for ``linf``; in units of images from 0 to 1 for
            ``l2``.
        steps: Number of gradient steps, >= 0.
        step_size: In the unit of ``eps``. Default: 2.5 * eps / steps.
        start: ``uniform``, ``gaussian`` or ``zero``, as in :func:`pgd`.
        momentum: 0 for plain PGD, 1 for MI-FGSM.
        halving: Halve the step of an image when its objective does not rise, as in :func:`pgd`.

    Raises:
        UserError: A value out of its range, or an unknown name.

    Source: Madry et al., arXiv 1706.06083, eq. 2; FGSM: Goodfellow et al., arXiv 1412.6572, section 4.
    """

    eps: float
    norm: str = 'linf'
    steps: int = 20
    step_size: float | None = None
    start: str = 'uniform'
    momentum: float = 0.0
    halving: bool = False

    def __post_init__(self):
        budget = self.budget
        check_whole('steps', self.steps, 0)
        if self.step_size is not None:
            budget.check_length('step_size', self.step_size)
        if self.eps and self.steps and self.step_size == 0:
            raise UserError('step_size is > 0, but got 0, with which no image moves. For a random start, set steps=0.')
        if self.start not in STARTS:
            raise unknown_name('start', self.start, STARTS)
        if not is_number(self.momentum) or not 0 <= self.momentum < inf:
            raise UserError(f'momentum is >= 0, but got {self.momentum!r}.')

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    @property
    def step(self) -> float:
        """The step size in the unit of ``eps``."""
        return 2.5 * self.eps / max(self.steps, 1) if self.step_size is None else self.step_size

    def maximize(
        self,
        objective: Callable,
        images: torch.Tensor,
        space: PixelSpace | None = None,
        *,
        pixel_range: tuple[float, float] = PIXEL_RANGE,
        observe: Callable | None = None,
    ) -> torch.Tensor:
        """Run the attack once.

        Args:
            objective: Maps images like ``images`` to a scalar, summed over the batch, or to (B,).
            images: Clean images, (B, C, H, W).
            space: How ``images`` are normalised. Default: they are pixels, 0-255.
            pixel_range: The valid range of a pixel, in pixels.
            observe: Called with (objective value, gradient) at each step.

        Returns:
            Perturbed images, detached, within the budget and the valid range. Without a budget, or without steps from
            ``zero``, the images themselves.
        """
        if self.eps == 0 or (self.steps == 0 and self.start == 'zero'):
            return images.detach()
        if self.norm == 'l2' and space is not None:
            # Normalised by channel, the ball would be an ellipsoid.
            of_pixels, pixels = lambda pixels: objective(space.normalize(pixels)), space.denormalize(images)
            found = self.maximize(of_pixels, pixels, pixel_range=pixel_range, observe=observe)
            return images + (found - pixels) / space.std
        space, budget = space or PixelSpace(), self.budget
        lower, upper = map(space.normalize, pixel_range)
        return pgd(
            objective,
            images,
            eps=budget.pixels / space.std,
            step_size=budget.to_pixels(self.step) / space.std,
            steps=self.steps,
            lower=lower,
            upper=upper,
            start=self.start,
            observe=observe,
            norm=self.norm,
            momentum=self.momentum,
            halving=self.halving,
        )
