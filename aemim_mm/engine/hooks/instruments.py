"""A hook that measures during pre-training whether the method works, and warns when it fails."""

import logging
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor

from ...attacks import check_whole
from ...errors import UserError
from ...evaluation.probe import effective_rank, knn_accuracy, mean_patch_features
from ...evaluation.signatures import shown_by, signatures_with
from ...models import AdversarialMIM
from ...models.early_backward import has_sharded_weights
from ...models.modes import buffers_kept, evaluating
from ...models.movement import FeatureMovement, adapter_drift, feature_movement
from ...replay import gpus_in_use
from ..randomness import data_randomness
from ..ranks import bare_model

# Images at a time, so that a measurement needs less memory than training.
BATCH = 32


@HOOKS.register_module()
class InstrumentsHook(Hook):
    """Measure every N epochs whether the method works; log the figures, and warn of each signature of a failure.

    The figures are scalars of the visualizer, ``instruments/NAME``, whose step is the iteration. They are measured on
    always the same images, masks and random starts. The training is the same as without the hook, bit for bit.

    * ``loss_ratio``: the mean weighted adversarial loss over the mean clean loss since ``interval`` epochs ago.
      ``loss_ratio_unweighted``: without the weight.
    * ``moved_noise``, ``moved_attack``, ``domain_gap``: as ``noise``, ``attack`` and ``gap`` of
      ``FeatureMovement``, means over the images. ``attack_over_noise``: the ratio of the first two.
    * ``adapter_drift``, ``adapter_size``: as ``split`` and ``added`` of ``adapter_drift``, of the encoder.
    * ``rank``: the effective rank (RankMe) of the mean patch features, whose mean over the images is subtracted, as a
      share of its greatest possible value.
    * ``knn``: the accuracy of a k-NN classifier on the same features, in percent: every second image classifies the
      others. ``knn_drop``: how far it is below its best so far.

    A model without adversarial branch has ``rank`` and ``knn`` only. Each warning comes once, also in resumed
    trainings, and again if the signature has been away. In a training by iterations, the hook measures once, at the
    end. All ranks measure, since some models communicate in their loss; rank 0 logs, with its own losses. If a
    measurement fails, there is one warning, and the training goes on without the hook.

    Args:
        interval: Epochs between measurements, >= 1. The last epoch is measured too.
        num_images: Number of images, >= 4, evenly spaced in the training set, augmented once.
        knn: Number of neighbours, from 1 to half of the images, for training data with labels. False: no k-NN.
        thresholds: Name of a signature of ``SIGNATURES`` to another limit, or to None for no warning.
        seed: Seed of the augmentation, the masks and the random starts.

    Raises:
        UserError: A value is out of its range, a name is unknown, the model is no pre-training model, or there are no
            labels for k-NN.

    Source: the failures that AEMIM names, arXiv 2407.11537; RankMe, arXiv 2210.02885.
    """

    priority = 'LOW'

    def __init__(
        self,
        interval: int = 1,
        num_images: int = 256,
        knn: int | bool = False,
        thresholds: dict | None = None,
        seed: int = 0,
    ):
        check_whole('interval', interval, 1)
        check_whole('num_images', num_images, 4)
        if knn is not False:
            check_whole('knn', knn, 1)
        self.interval, self.num_images, self.knn, self.seed = interval, num_images, knn, seed
        self.signatures = signatures_with(thresholds or {})
        self._failed = False
        self._batches: list = []
        self._labels = torch.empty(0)

    def before_train(self, runner: Runner) -> None:
        """Check the model, and load the images."""
        model = bare_model(runner.model)
        if not isinstance(model, BaseSelfSupervisor):
            raise UserError(
                f'InstrumentsHook watches the pre-training of an encoder, but got a {type(model).__name__}. Leave it '
                'out.'
            )
        if has_sharded_weights(runner.model):
            print_log('Instruments: the weights are sharded, so only the losses are compared.', 'current')
        else:
            self._load(runner.train_dataloader)

    def _load(self, loader: Any) -> None:
        count = min(self.num_images, len(loader.dataset))
        with data_randomness(self.seed):
            items = [loader.dataset[int(index)] for index in np.linspace(0, len(loader.dataset) - 1, count)]
        if self.knn:
            self._labels = _labels_of(items)
            if self.knn > len(self._labels[::2]):
                raise UserError(
                    f'InstrumentsHook: knn is at most half of the images, {count // 2}, but got {self.knn}.'
                )
        parts = np.array_split(np.arange(count), -(-count // BATCH))
        self._batches = [loader.collate_fn([items[index] for index in part]) for part in parts]

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure if the epoch is due or the last one."""
        due = self.every_n_epochs(runner, self.interval) or runner.epoch + 1 == runner.max_epochs
        if due and not self._failed:
            self.write(runner)

    def write(self, runner: Runner) -> None:
        """Measure now: log the figures, and warn."""
        try:
            figures, hub = self.measure(runner), runner.message_hub
        # A measurement must not end a training. Models raise exceptions of their own.
        except Exception as error:
            said = f'a measurement failed ({type(error).__name__}: {error}). Training goes on without instruments'
            print_log(f'Instruments: {said}.', 'current', logging.WARNING)
            self._failed = True
            return
        state: dict[str, Any] = hub.get_info('instruments') or dict(best_knn=0.0, shown=[])
        if 'knn' in figures:
            state['best_knn'] = max(state['best_knn'], figures['knn'])
            figures['knn_drop'] = state['best_knn'] - figures['knn']
        runner.visualizer.add_scalars({f'instruments/{name}': figure for name, figure in figures.items()}, runner.iter)
        print_log('Instruments: ' + ', '.join(f'{name} {figure:.3g}' for name, figure in figures.items()), 'current')
        shown = shown_by(figures, self.signatures)
        for name in shown:
            if name not in state['shown']:
                said = f'{self.signatures[name].said(figures)} (thresholds.{name}={self.signatures[name].limit:g})'
                print_log(f'Instruments, epoch {runner.epoch + 1}: {said}', 'current', logging.WARNING)
        # A checkpoint holds this.
        hub.update_info('instruments', dict(state, shown=shown))

    def measure(self, runner: Runner) -> dict[str, float]:
        """Return the figures of the model as it is now, without ``knn_drop``."""
        model = bare_model(runner.model)
        adversarial = isinstance(model, AdversarialMIM)
        figures = self._losses(runner, model) if adversarial else {}
        if not self._batches:
            return figures
        moved, features = [], []
        with data_randomness(self.seed, gpus_in_use()):
            for batch in self._batches:
                # The preprocessor changes the batch that it is given.
                data = model.data_preprocessor(dict(batch), False)
                moved += [feature_movement(model, **data)] if adversarial else []
                features.append(_features(model, data['inputs']))
        if adversarial:
            figures |= _movement(moved)
            names = dict(split='adapter_drift', added='adapter_size')
            figures |= {names[kind]: drift for kind, drift in adapter_drift(model.backbone).items()}
        return figures | self._frozen(torch.cat(features))

    def _losses(self, runner: Runner, model: AdversarialMIM) -> dict[str, float]:
        """Compare the losses that were logged in the last ``interval`` epochs."""
        window = self.interval * len(runner.train_dataloader)
        scalars = runner.message_hub.log_scalars
        if 'train/loss_clean' not in scalars:
            return {}
        clean, adv = (scalars[f'train/{name}'].data[0][-window:] for name in ('loss_clean', 'loss_adv'))
        times = np.arange(runner.iter - len(adv), runner.iter) / runner.max_iters
        weights = np.array([model.weight_schedule.at(time) for time in times])
        figures = dict(loss_ratio=float(adv.mean() / clean.mean()))
        if weights.any():
            used = weights > 0
            figures['loss_ratio_unweighted'] = float((adv[used] / weights[used]).mean() / clean[used].mean())
        return figures

    def _frozen(self, features: torch.Tensor) -> dict[str, float]:
        """Measure the rank of features (N, C), and k-NN on them."""
        centred = features - features.mean(dim=0)
        # Rounding errors of equal features would be of full rank.
        collapsed = centred.norm() <= 1e-5 * features.norm()
        figures = dict(rank=(1.0 if collapsed else effective_rank(centred)) / min(features.shape))
        if self.knn:
            bank, queries = ((features[start::2], self._labels[start::2]) for start in (0, 1))
            figures['knn'] = knn_accuracy(bank, queries, self.knn)
        return figures


def _labels_of(items: list) -> torch.Tensor:
    labels: list = [getattr(item['data_samples'], 'gt_label', None) for item in items]
    if any(label is None for label in labels):
        raise UserError(
            'InstrumentsHook: k-NN needs a label for each training image, but the data have none. Set knn=False.'
        )
    return torch.cat(labels)


def _features(model: Any, inputs: Any) -> torch.Tensor:
    """Compute the mean patch features of the first of two views, (B, C)."""
    images = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
    with torch.no_grad(), evaluating(model), buffers_kept(model):
        return mean_patch_features(model, images)


def _movement(moved: list[FeatureMovement]) -> dict[str, float]:
    """Take the means over all images."""
    noise, attack, gap = (
        float(torch.cat([getattr(one, name) for one in moved]).mean()) for name in ('noise', 'attack', 'gap')
    )
    return dict(moved_noise=noise, moved_attack=attack, attack_over_noise=attack / max(noise, 1e-12), domain_gap=gap)
