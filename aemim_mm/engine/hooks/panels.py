"""A hook that writes picture panels during training."""

from typing import Any, cast

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UserError
from ...models import AdversarialMIM
from ...replay import gpus_in_use
from ...visualization.panels import draw_panels_of
from ..randomness import data_randomness
from ..ranks import bare_model


@HOOKS.register_module()
class PanelHook(Hook):
    """Write picture panels every N epochs through the Visualizer, always of the same images, masks and random starts.

    Args:
        interval: Epochs between panels.
        num_images: Number of rows. The images are the first of the training set, augmented once.
        seed: Seed of the augmentation, the masks and the random starts.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 1, num_images: int = 6, seed: int = 0):
        self.interval, self.num_images, self.seed = interval, num_images, seed
        self._batch: Any = None

    def before_train(self, runner: Runner) -> None:
        """Raise a UserError if the model has no pictures to show."""
        model = bare_model(runner.model)
        if not isinstance(model, AdversarialMIM):
            raise UserError(f'PanelHook shows both domains of AEMIM, but got a {type(model).__name__}. Leave it out.')
        model.check_pictures()

    def after_train_epoch(self, runner: Runner) -> None:
        """Write a panel if the epoch is due or the last one, on rank 0 only."""
        last = runner.epoch + 1 == runner.max_epochs
        if (last or self.every_n_epochs(runner, self.interval)) and runner.rank == 0:
            self.write(runner)

    def write(self, runner: Runner) -> None:
        """Write one panel now."""
        model = bare_model(runner.model)
        loader = cast(Any, runner.train_dataloader)
        if self._batch is None:
            with data_randomness(self.seed):
                items = [loader.dataset[index] for index in range(min(self.num_images, len(loader.dataset)))]
                self._batch = loader.collate_fn(items)
        with data_randomness(self.seed, gpus_in_use()):
            # The preprocessor changes the batch that it is given.
            data = model.data_preprocessor(dict(self._batch), False)
            picture = draw_panels_of(model, data['inputs'], data['data_samples'])
        runner.visualizer.add_image('panels', picture, step=runner.epoch + 1)
