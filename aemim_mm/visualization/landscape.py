"""The landscape that an attack climbs: a function of images, on the plane of two directions."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter


@torch.no_grad()
def landscape(
    function: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    directions: tuple[torch.Tensor, torch.Tensor],
    steps: Sequence[float],
    batch_size: int = 64,
) -> np.ndarray:
    """Compute a function of images at each point ``image + a * directions[0] + b * directions[1]``.

    Args:
        function: Maps images (B, C, H, W) to values (B,).
        image: (C, H, W).
        directions: Two tensors like ``image``.
        steps: The values of ``a`` and of ``b``.
        batch_size: Number of images at once.

    Returns:
        (len(steps), len(steps)), the value at ``[b, a]``.
    """
    first, second = (torch.stack([step * one for step in steps]) for one in directions)
    images = (image + first + second[:, None]).flatten(0, 1)
    values = torch.cat([function(batch) for batch in images.split(batch_size)])
    return values.view(len(steps), len(steps)).cpu().numpy()


def draw_landscapes(
    surfaces: Sequence[np.ndarray], steps: Sequence[float], titles: Sequence[str], axes: tuple[str, str], unit: str
) -> np.ndarray:
    """Draw landscapes side by side, with one scale of colours. A square marks the steps from -1 to 1.

    Args:
        surfaces: As of :func:`landscape`, one for each image; the values are shares, shown in percent.
        steps: The steps of both directions.
        titles: Name of each image.
        axes: Names of the two directions.
        unit: What the colours mean.

    Returns:
        uint8, (H, W, 3) in RGB order.
    """
    figure = Figure((3.4 * len(surfaces) + 0.8, 3.6), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    top = max(float(surface.max()) for surface in surfaces) or 1.0
    plots = figure.subplots(1, len(surfaces), squeeze=False)[0]
    for plot, surface, title in zip(plots, surfaces, titles):
        shown = plot.contourf(steps, steps, surface, levels=np.linspace(0, top, 21), cmap='inferno')
        plot.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color='white', linewidth=1)
        plot.set(xlabel=axes[0], aspect='equal')
        plot.set_title(title, parse_math=False)
    plots[0].set_ylabel(axes[1])
    figure.colorbar(shown, ax=list(plots), label=unit, ticks=MaxNLocator(6), format=PercentFormatter(1))
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
