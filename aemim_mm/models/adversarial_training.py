"""Adversarial fine-tuning: a classifier that learns from adversarial examples of its training images."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from ..attacks import PGD, PixelSpace, check_whole, classification_loss
from ..attacks.pixels import is_number
from ..errors import UserError, unknown_name
from .modes import evaluating, only_inputs_need_gradients
from .precision import PRECISIONS, attack_precision

CHOICES = dict(loss=('pgd_at', 'trades'), attack_mode=('eval', 'train'), attack_precision=('auto', *PRECISIONS))


@MODELS.register_module()
class AdversarialClassifier(ImageClassifier):
    """mmpretrain's ``ImageClassifier``, trained on L-inf adversarial examples; it predicts as the stock model.

    ``pgd_at`` minimises the head's loss on images for which PGD maximises the cross-entropy. ``trades`` minimises the
    head's loss on clean images, plus ``beta`` times KL(p(x) || p(x_adv)), which PGD maximises over x_adv.

    The attack takes gradients with respect to the images alone. A training step therefore has one backward pass through
    the weights, as DistributedDataParallel requires.

    Args:
        loss: ``pgd_at`` or ``trades``.
        eps: Radius in pixels, 0-255.
        steps: Number of gradient steps of the attack, >= 1.
        step_size: In pixels. Default: 2.5 * eps / steps.
        beta: Weight of the divergence in ``trades``, >= 0.
        start: ``uniform`` in the ball, ``gaussian`` or, for ``pgd_at``, ``zero``.
        attack_mode: The mode of the model during the attack: ``eval`` (running statistics, no dropout) or ``train``.
            Neither changes running statistics.
        attack_precision: ``float32``, ``bfloat16`` or ``auto``: the training's precision, but float32 if that is
            float16.
        **kwargs: Arguments of ``ImageClassifier``. Its data preprocessor must normalise, not the pipeline.

    Raises:
        UserError: An unknown name or a value out of its range.

    Source: Madry et al., arXiv 1706.06083, eq. 2.1; Zhang et al., arXiv 1901.08573, eq. 5.
    """

    head: Any

    def __init__(
        self,
        *args,
        loss: str = 'pgd_at',
        eps: float = 4.0,
        steps: int = 7,
        step_size: float | None = None,
        beta: float = 6.0,
        start: str = 'uniform',
        attack_mode: str = 'eval',
        attack_precision: str = 'float32',
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        chosen = dict(loss=loss, attack_mode=attack_mode, attack_precision=attack_precision)
        for name, got in chosen.items():
            if got not in CHOICES[name]:
                raise unknown_name(name, got, CHOICES[name])
        check_whole('steps', steps, 1)
        self.attack = PGD(eps, steps=steps, step_size=step_size, start=start)
        if loss == 'trades' and start == 'zero':
            raise UserError("start='zero' has no gradient with loss='trades': set start='uniform' or 'gaussian'.")
        if not is_number(beta) or not 0 <= beta < inf:
            raise UserError(f'beta is >= 0, but got {beta!r}.')
        PixelSpace.of(self.data_preprocessor).check()
        self.beta, self.training_loss = beta, loss
        self.attack_mode, self.attack_precision = attack_mode, attack_precision

    def loss(self, inputs: torch.Tensor, data_samples: list) -> dict:
        """Compute the loss of adversarial training.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: One for each image, with ``gt_label`` or, after mixup and the like, ``gt_score``.

        Returns:
            ``pgd_at``: ``loss_adv``. ``trades``: ``loss_clean``, and ``loss_trades``, already weighted by ``beta``.
        """
        if self.training_loss == 'pgd_at':
            x_adv = self.perturb(inputs, _labels(data_samples), classification_loss('ce'))
            return _renamed(super().loss(x_adv, data_samples), 'loss_adv')
        with self._attacked(inputs), torch.no_grad():
            probabilities = self(inputs).softmax(dim=1)
        x_adv = self.perturb(inputs, probabilities, _divergence)
        features = self.extract_feat(inputs)
        losses = _renamed(self.head.loss(features, data_samples), 'loss_clean')
        logits, adv_logits = self.head(features), self(x_adv)
        divergence = _divergence(adv_logits, logits.softmax(dim=1)) / len(inputs)
        return dict(losses, loss_trades=self.beta * divergence)

    def perturb(self, inputs: torch.Tensor, labels: torch.Tensor, objective: Callable) -> torch.Tensor:
        """Make adversarial examples.

        Args:
            inputs: Normalised images, (B, C, H, W).
            labels: Classes (B,) or probabilities (B, classes).
            objective: What the attack maximises: maps logits and ``labels`` to a scalar, summed over the batch.

        Returns:
            Normalised images, at most ``eps`` pixels from ``inputs``.
        """
        with self._attacked(inputs):
            space = PixelSpace.of(self.data_preprocessor)
            return self.attack.maximize(lambda images: objective(self(images), labels), inputs.float(), space)

    @contextmanager
    def _attacked(self, inputs):
        """Inside, the model is in the attack's mode and precision, and nothing in it changes."""
        mode = evaluating(self) if self.attack_mode == 'eval' else nullcontext()
        precision = attack_precision(self.attack_precision, inputs.device.type)
        with mode, only_inputs_need_gradients(self), precision:
            yield


def _divergence(adv_logits, probabilities):
    """KL(p(x) || p(x_adv)), summed over the batch."""
    return F.kl_div(adv_logits.float().log_softmax(dim=1), probabilities.float(), reduction='sum')


def _labels(data_samples):
    """The labels of a batch: classes (B,) or, after mixup and the like, probabilities (B, classes)."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])


def _renamed(losses: dict, name: str) -> dict:
    """Rename the key ``loss``, which would overwrite the total loss in the log."""
    return {name if key == 'loss' else key: value for key, value in losses.items()}
