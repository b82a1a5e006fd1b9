"""A hook that writes picture panels during training."""

import random
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from ...visualization.panels import FOOTNOTE, draw_panels, panel_columns, panel_rows
from ..ranks import bare_model


@contextmanager
def _seeded(seed: int):
    """Inside, random numbers of this seed, augmentation's too; outside, as if nothing had happened."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python), np.random.set_state(numpy)


@HOOKS.register_module()
class PanelHook(Hook):
    """Write picture panels of the same images, masks and random starts every N epochs, through the Visualizer.

    Args:
        interval: Epochs between panels.
        num_images: Rows of a panel, taken from the start of the training set, augmented once.
        seed: Of masks and random starts.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 1, num_images: int = 6, seed: int = 0):
        self.interval, self.num_images, self.seed = interval, num_images, seed
        self._batch = None

    def after_train_epoch(self, runner) -> None:
        last = runner.epoch + 1 == runner.max_epochs
        if (last or self.every_n_epochs(runner, self.interval)) and runner.rank == 0:
            self.write(runner)

    def write(self, runner) -> None:
        """Draw one panel now."""
        model = bare_model(runner.model)
        loader = runner.train_dataloader
        with _seeded(self.seed):
            if self._batch is None:
                items = [loader.dataset[index] for index in range(min(self.num_images, len(loader.dataset)))]
                self._batch = loader.collate_fn(items)
        with _seeded(self.seed):
            # The preprocessor changes what it is given.
            data = model.data_preprocessor(dict(self._batch), False)
            rows = panel_rows(model, data['inputs'], data['data_samples'])
        columns = panel_columns(model)
        footnote = FOOTNOTE if any('*' in column for column in columns) else ''
        runner.visualizer.add_image('panels', draw_panels(rows, columns, footnote), step=runner.epoch + 1)
