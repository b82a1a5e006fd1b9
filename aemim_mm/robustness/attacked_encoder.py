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
from .encoder_attacks import feature_attack, features_in_training, reconstruction_attack
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
        attack: ``dict(type=..., eps=..., ...)``: ``features`` or ``reconstruction``, and fields of ``PGD``.
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
        self.pretraining = isinstance(model, BaseSelfSupervisor)
        if self.kind == 'reconstruction' and not self.pretraining:
            raise UserError(f'A {type(model).__name__} reconstructs nothing. Attack its features.')
        self.attack = ENCODER_ATTACKS[self.kind](**fields)
        self.batches = 0

    def test_step(self, data: Any) -> list:
        """Measure a batch: for each image, ``before``, ``noise``, ``attack``, and the ``group`` that shares them."""
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        noise = replace(self.attack, steps=0, start='uniform')
        measure = self._features if self.kind == 'features' else self._reconstruction
        before, by_noise, by_attack = measure(inputs, samples, (noise, self.attack))
        self.batches += 1
        # The images of a batch share one reconstruction loss, so they form one group of the bootstrap.
        group = f'{get_rank()}-{self.batches}'
        return [
            dict(before=a, noise=b, attack=c, group=group if self.kind == 'reconstruction' else f'{group}-{number}')
            for number, (a, b, c) in enumerate(zip(before, by_noise, by_attack))
        ]

    val_step = test_step

    def _features(self, inputs, samples, attacks):
        features = features_in_training(self.model, inputs, samples) if self.pretraining else None
        images = inputs[0] if isinstance(inputs, list) else inputs  # The first of two views.
        noise, attack = (
            feature_attack(self.model, images, one, features=features, seed=self.seed, quantize=self.quantize)
            for one in attacks
        )
        return [0.0] * len(images), (100 * noise.moved).tolist(), (100 * attack.moved).tolist()

    def _reconstruction(self, inputs, samples, attacks):
        noise, attack = (
            reconstruction_attack(self.model, inputs, samples, one, seed=self.seed, quantize=self.quantize)
            for one in attacks
        )
        return ([value] * len(attack.x_adv) for value in (attack.before, noise.after, attack.after))

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Call the model, without an attack."""
        return self.model(inputs, data_samples, mode=mode)


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
            for name in ('before', 'noise', 'attack')
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
