"""Logging backends that cannot end a training."""

import functools
import logging
from collections.abc import Callable

from mmengine.logging import print_log
from mmengine.visualization import Visualizer
from mmengine.visualization.vis_backend import BaseVisBackend, MLflowVisBackend

METHODS = ('add_config', 'add_graph', 'add_image', 'add_scalar', 'add_scalars', 'close')


def guard_backends(visualizer: Visualizer) -> None:
    """Let a logging backend that fails cost a warning instead of the run.

    A run logs for days: the network may go down, a disk may be full, a server may refuse an image. The first failure of
    each method is logged, and later calls are still tried.

    Args:
        visualizer: The visualizer of a Runner. Its backends are changed in place.
    """
    for backend in visualizer._vis_backends.values():
        for name in METHODS:
            setattr(backend, name, _guarded(backend, name, getattr(backend, name)))


def _guarded(backend: BaseVisBackend, name: str, method: Callable) -> Callable:
    failed = False

    @functools.wraps(method)
    def guarded(*args, **kwargs) -> None:
        nonlocal failed
        try:
            if name == 'add_image' and isinstance(backend, MLflowVisBackend):
                # MLflow chooses the format of the file by its name, which mmengine passes on without a step.
                label, image, step = args
                args = (f'{label}_{step}.png', image, step)
            method(*args, **kwargs)
        # Each backend has exceptions of its own.
        except Exception as error:
            if not failed:
                print_log(
                    f'{type(backend).__name__}.{name} failed ({type(error).__name__}: {error}). Training goes on; what '
                    'this backend cannot log is lost. Checkpoints and the text log do not need it.',
                    'current',
                    logging.WARNING,
                )
            failed = True

    return guarded
