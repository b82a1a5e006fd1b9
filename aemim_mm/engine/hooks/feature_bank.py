"""A hook that shows the training images to a k-nearest-neighbour classifier."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...errors import UserError
from ..ranks import bare_model


@HOOKS.register_module()
class FeatureBankHook(Hook):
    """Before the test, fill the feature bank of a ``KNNClassifier`` with the images of ``train_dataloader``."""

    def before_test(self, runner: Runner) -> None:
        try:
            loader = runner.build_dataloader(runner.cfg.train_dataloader, seed=runner.seed)
        except FileNotFoundError as error:
            raise UserError(
                f'The training images are missing: {error} A k-NN classifier needs them beside the test images.'
            ) from error
        bare_model(runner.model).remember(loader)
