"""An encoder under attack, as a model that mmengine's TestLoop runs, and its metric."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmpretrain.models import BaseSelfSupervisor
from mmpretrain.registry import METRICS
from torch.utils.data import Dataset

from ..attacks import PGD
from ..engine.randomness import data_randomness, folded
from ..errors import UserError, unknown_name
from ..evaluation.metrics import grouped_interval
from .encoder_attacks import (
    EncoderAttackResult,
    feature_attack,
    features_in_training,
    features_moved,
    reconstruction_attack,
    reconstruction_loss,
)
from .whitebox import feature_pgd

ENCODER_ATTACKS = {'features': feature_pgd, 'reconstruction': PGD}


class AttackedEncoder(BaseModel):
    """A classifier or pre-training model whose encoder is attacked, without labels.

    Each batch is measured three times: without a perturbation, under uniform noise of the same size, and under attack.

    * ``features``: the distance of the features from the clean image's, in percent of the length of the clean ones.
      The features of a classifier are the input of its head. The features of a pre-training model are the output of
      its backbone in training, under a fixed mask.
    * ``reconstruction``: the reconstruction loss of a pre-training model under a fixed mask. The target is the clean
      image. The loss is a mean over the batch, so all images of a batch have the same value.

    Args:
        model: A classifier or MIM algorithm of mmpretrain.
        attack: ``dict(type=..., eps=..., ...)``: ``features`` or ``reconstruction``, and fields of ``PGD``. With
            ``crossed=True``, a pre-training model is measured a fourth time, under the attack of the other type.
        quantize: Round the perturbed images to 8 bits, inside the budget.
        seed: Seed of the masks and random starts.

    Raises:
        UserError: An unknown type of attack, or a reconstruction attack on a classifier.
    """

    def __init__(self, model: Any, attack: dict, quantize: bool = False, seed: int = 0):
        super().__init__(data_preprocessor=model.data_preprocessor)
        self.model, self.quantize, self.seed = model, quantize, seed
        fields = dict(attack)
        self.kind = fields.pop('type')
        if self.kind not in ENCODER_ATTACKS:
            raise unknown_name('attack on an encoder', self.kind, ENCODER_ATTACKS)
        self.crossed = fields.pop('crossed', False)
        self.pretraining = isinstance(model, BaseSelfSupervisor)
        if (self.kind == 'reconstruction' or self.crossed) and not self.pretraining:
            raise UserError(f'A {type(model).__name__} reconstructs nothing. Attack its features.')
        kinds = ENCODER_ATTACKS if self.crossed else [self.kind]
        self.attacks: Any = {kind: ENCODER_ATTACKS[kind](**fields) for kind in kinds}
        self.batches = 0

    def test_step(self, data: Any) -> list:
        """Measure a batch: for each image, ``before``, ``noise``, ``attack``, and the ``group`` that shares them."""
        data = self.data_preprocessor(data, False)
        found = self.figures(data['inputs'], data['data_samples'])
        self.batches += 1
        # The images of a batch share one reconstruction loss, so they form one group of the bootstrap.
        group = f'{get_rank()}-{self.batches}'
        return [
            dict(zip(found, values), group=group if self.kind == 'reconstruction' else f'{group}-{number}')
            for number, values in enumerate(zip(*found.values()))
        ]

    val_step = test_step

    def figures(self, inputs: Any, samples: list | None) -> dict[str, list[float]]:
        """Measure a batch of normalised images: name of a figure to one value for each image."""
        attack = self.attacks[self.kind]
        noise = self._attacked(self.kind, inputs, samples, replace(attack, steps=0, start='uniform'))
        strong = self._attacked(self.kind, inputs, samples, attack)
        if self.kind == 'features':
            # Features of views that are not attacked come last; they do not move.
            clean = torch.zeros(len(_first(inputs)))
            found = dict(before=clean, noise=noise.moved, attack=strong.moved)
        else:
            found = dict(before=strong.before, noise=noise.after, attack=strong.after)
        if self.crossed:
            found['crossed'] = self._crossed(inputs, samples)
        count = len(strong.x_adv)
        return {
            name: (100 * value).tolist() if isinstance(value, torch.Tensor) else [value] * count
            for name, value in found.items()
        }

    def _attacked(self, kind: str, inputs, samples, attack) -> EncoderAttackResult:
        settings: Any = dict(seed=self.seed, quantize=self.quantize)
        if kind == 'features':
            return feature_attack(
                self.model, _first(inputs), attack, features=self._features(inputs, samples), **settings
            )
        return reconstruction_attack(self.model, inputs, samples, attack, **settings)

    def _crossed(self, inputs, samples) -> Any:
        """Measure the images of the other attack."""
        (other,) = set(self.attacks) - {self.kind}
        x_adv = self._attacked(other, inputs, samples, self.attacks[other]).x_adv
        if self.kind == 'reconstruction':
            return reconstruction_loss(self.model, inputs, samples, x_adv, seed=self.seed)
        features = self._features(inputs, samples)
        return features_moved(self.model, _first(inputs), x_adv, features=features, seed=self.seed)

    def _features(self, inputs, samples):
        return features_in_training(self.model, inputs, samples) if self.pretraining else None

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Call the model, without an attack."""
        return self.model(inputs, data_samples, mode=mode)


def _first(inputs: Any) -> torch.Tensor:
    """The images, or the first of two views."""
    return inputs[0] if isinstance(inputs, list) else inputs


@METRICS.register_module()
class EncoderMetric(BaseMetric):
    """The means over all images of what an :class:`AttackedEncoder` measured.

    Attributes:
        figures: Name to ``Interval``, after ``evaluate``, on the main process only.
    """

    default_prefix = 'encoder'
    figures = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the measured values of a batch."""
        self.results.extend(data_samples)

    def compute_metrics(self, results: list) -> dict:
        groups = [result['group'] for result in results]
        self.figures = {
            name: grouped_interval(np.array([result[name] for result in results]), groups)
            for name in (results[0] if results else ())
            if name != 'group'
        }
        return {name: interval.estimate for name, interval in self.figures.items()}


class Seeded(Dataset):
    """A data set whose augmentations are the same in every run, whatever the order and the worker.

    Args:
        dataset: A data set of mmengine.
        seed: Together with the index of an image, it determines the random numbers for this image.
    """

    def __init__(self, dataset: Any, seed: int = 0):
        self.dataset, self.seed, self.metainfo = dataset, seed, dataset.metainfo

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        with data_randomness(folded(self.seed, index)):
            return self.dataset[index]
