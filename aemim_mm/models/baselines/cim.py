"""Corrupted image modeling (CIM): an encoder sees images that a generator has corrupted, and enhances them."""

from typing import Any

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS

from ...attacks import PixelSpace
from ...errors import UserError
from ...replay import separate_stream
from .corruption import Corrupter, Corruption


@MODELS.register_module()
class CIM(BaseSelfSupervisor):
    """CIM. A small generator guesses hidden tokens of an image; the encoder, the enhancer, sees the image made of them.

    Generator and encoder are trained together. No gradient flows from the encoder to the generator, because tokens are
    sampled. The encoder is any network: nothing is hidden from it.

    Args:
        generator: A ``CIMGenerator``.
        target_generator: A ``Corrupter``, with the tokenizer.
        head: ``ResPixHead`` or ``RevDetHead``.
        enhancer_weight: Weight of the encoder's loss, >= 0. The generator's is 1.
        **kwargs: Arguments of ``BaseSelfSupervisor``.

    Raises:
        UserError: A weight out of its range, or a generator for another number of tokens.

    Source: CIM, arXiv 2202.03382. Its authors have published no code; what the abstract leaves open is our
    reconstruction, which docs/baselines.md lists.
    """

    # In AEMIM's adversarial pass, and under attack, the generator is not trained.
    once_a_step: tuple[str, ...] = ('generator_loss',)

    backbone: Any
    target_generator: Corrupter
    head: Any

    def __init__(self, *args, generator: dict, enhancer_weight: float = 1.0, **kwargs):
        super().__init__(*args, **kwargs)
        if not 0 <= enhancer_weight < float('inf'):
            raise UserError(f'enhancer_weight is >= 0, but got {enhancer_weight!r}.')
        self.enhancer_weight = enhancer_weight
        self.generator: Any = MODELS.build(generator)
        expected, got = self.target_generator.tokenizer.vocab_size, self.generator.predict.out_features
        if got != expected:
            raise UserError(f'model.generator.vocab_size is {expected}, as of the tokenizer, but got {got}.')

    def loss(self, inputs: torch.Tensor, data_samples: list | None, **kwargs) -> dict:
        """Corrupt a batch and compute both losses.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: Not read.

        Returns:
            ``loss_enhancer``, weighted; ``loss_generator``; and ``replaced``, the share of replaced tokens.
        """
        space = PixelSpace.of(self.data_preprocessor)
        # The encoder draws the same numbers in a pass that uses this corruption again.
        with separate_stream():
            corruption = self.target_generator(inputs, self.generator, space)
        # Zero, unless this is a corruption of other images: then the corrupted images get the same perturbation.
        perturbation = (inputs - corruption.originals) * space.std
        features = self.backbone(space.add(corruption.images, perturbation))[0]
        losses = dict(
            loss_enhancer=self.enhancer_weight * self.head.loss(features, corruption),
            replaced=corruption.replaced.float().mean(),
        )
        generator_loss = self.generator_loss(corruption)
        return losses if generator_loss is None else dict(losses, loss_generator=generator_loss)

    def generator_loss(self, corruption: Corruption) -> torch.Tensor | None:
        """Compute the mean cross-entropy of the generator's guesses; None where the generator is not trained."""
        return corruption.errors.mean()
