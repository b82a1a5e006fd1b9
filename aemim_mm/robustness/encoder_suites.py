"""Suites for pre-training models: attacks on the encoder's features, and on the reconstruction."""

from collections.abc import Sequence
from copy import deepcopy

from mmengine.config import Config

from .attacked_encoder import ENCODER_ATTACKS
from .conditions import EPS, Condition


def encoder_conditions(
    dataset: dict, kind: str, strengths: Sequence[float], *, prefix: str = '', seeded: bool = False, **attack
) -> list:
    """Return the conditions of an attack on an encoder, one for each eps.

    Args:
        dataset: Config of the data set.
        kind: A key of ``ENCODER_ATTACKS``.
        strengths: The values of eps.
        prefix: Begins the names of the conditions.
        seeded: As of ``Condition``.
        **attack: Fields of ``AttackedEncoder``.
    """
    group, measure = {
        'features': ('Features moved', 'distance, %'),
        'reconstruction': ('Reconstruction attack', 'reconstruction loss'),
    }[kind]
    return [
        Condition(
            f'{prefix}{kind}/{eps:g}',
            group,
            deepcopy(dataset),
            float(eps),
            dict(attack, type=kind, eps=float(eps), steps=20),
            dict(type='EncoderMetric'),
            measure=measure,
            seeded=seeded,
        )
        for eps in strengths
    ]


def pretrained_encoder(cfg: Config) -> list:
    """Feature and reconstruction attacks on a pre-training model; on training images if it has no test images."""
    dataset = _pretraining_images(cfg)
    return [condition for kind in ENCODER_ATTACKS for condition in encoder_conditions(dataset, kind, EPS, seeded=True)]


def crossed(cfg: Config) -> list:
    """As ``encoder``, up to eps 32, and each attack is also measured by what the other one maximises."""
    dataset, strengths = _pretraining_images(cfg), (*EPS, 16, 32)
    return [
        condition
        for kind in ENCODER_ATTACKS
        for condition in encoder_conditions(dataset, kind, strengths, prefix='crossed-', seeded=True, crossed=True)
    ]


def _pretraining_images(cfg: Config) -> dict:
    loader = cfg.get('test_dataloader') or cfg.train_dataloader
    return loader.dataset.to_dict()


PRETRAINING_SUITES = {'encoder': pretrained_encoder, 'crossed': crossed}
