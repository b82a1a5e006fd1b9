"""Adversarial fine-tuning: a classifier that learns from adversarial examples of its training images."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS

from ..attacks import STARTS, check_pixels, classification_loss, pgd
from ..attacks.budget import PIXELS
from ..errors import UserError, unknown_name
from ..replay import only_inputs_need_gradients
from .precision import attack_precision

TRAINING_LOSSES = ('pgd_at', 'trades')


@MODELS.register_module()
class AdversarialClassifier(ImageClassifier):
    """mmpretrain's ``ImageClassifier``, trained on L-inf adversarial examples; in tests, it is the stock model.

    ``pgd_at`` minimises the head's loss on images that PGD has made worst for cross-entropy. ``trades`` minimises the
    head's loss on clean images, plus ``beta`` times KL(p(x) || p(x_adv)), where x_adv makes that divergence largest.

    The attack runs in float32 by gradients with respect to images alone, so a step has one backward pass through the
    weights, as DistributedDataParallel needs it.

    Args:
        loss: ``pgd_at`` or ``trades``.
        eps: Radius in pixels, 0-255.
        steps: Number of gradient steps of the attack, >= 1.
        step_size: In pixels. Default: 2.5 * eps / steps.
        beta: Weight of the divergence in ``trades``, >= 0.
        start: ``uniform`` in the ball, ``gaussian`` or, for ``pgd_at``, ``zero``.
        attack_mode: ``eval``: the attack sees the model as in a test (running statistics, no dropout). ``train``: as in
            training. Neither changes running statistics.
        **kwargs: Of ``ImageClassifier``. Its data preprocessor normalises, and the pipeline does not.

    Raises:
        UserError: An unknown name or a value out of its range.

    Source: Madry et al., arXiv 1706.06083, eq. 2.1; Zhang et al., arXiv 1901.08573, eq. 5.
    """

    def __init__(
        self,
        *args,
        loss='pgd_at',
        eps=4.0,
        steps=7,
        step_size=None,
        beta=6.0,
        start='uniform',
        attack_mode='eval',
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        choices = dict(
            loss=(loss, TRAINING_LOSSES), attack_mode=(attack_mode, ('eval', 'train')), start=(start, STARTS)
        )
        for name, (got, known) in choices.items():
            if got not in known:
                raise unknown_name(name, got, known)
        if loss == 'trades' and start == 'zero':
            raise UserError("start='zero' has no gradient with loss='trades': set start='uniform' or 'gaussian'.")
        if not isinstance(steps, int) or steps < 1:
            raise UserError(f'steps is a whole number >= 1, but got {steps!r}.')
        if not beta >= 0:
            raise UserError(f'beta is >= 0, but got {beta!r}.')
        if not hasattr(self.data_preprocessor, '_enable_normalize'):
            raise UserError(
                f'The data preprocessor is a {type(self.data_preprocessor).__name__}, which does not say how it '
                'normalises, so pixels are not known. Use ClsDataPreprocessor with mean and std.'
            )
        self.eps, self.steps, self.beta = check_pixels('eps', eps), steps, beta
        self.step_size = 2.5 * self.eps / steps if step_size is None else check_pixels('step_size', step_size)
        self.training_loss, self.start, self.attack_mode = loss, start, attack_mode

    def loss(self, inputs, data_samples):
        """The loss of adversarial training.

        Args:
            inputs: Normalised images, (B, C, H, W).
            data_samples: One for each image, with ``gt_label`` or, after mixup and the like, ``gt_score``.

        Returns:
            ``loss_adv`` (``pgd_at``), or ``loss_clean`` and ``loss_trades``, which is weighted (``trades``).
        """
        if self.training_loss == 'pgd_at':
            x_adv = self.perturb(inputs, _targets(data_samples), classification_loss('ce'))
            return _renamed(super().loss(x_adv, data_samples), 'loss_adv')
        with self._attacked(inputs), torch.no_grad():
            probabilities = self(inputs).softmax(dim=1)
        x_adv = self.perturb(inputs, probabilities, _divergence)
        features = self.extract_feat(inputs)
        losses = _renamed(self.head.loss(features, data_samples), 'loss_clean')
        logits, adv_logits = self.head(features), self(x_adv)
        divergence = _divergence(adv_logits, logits.softmax(dim=1)) / len(inputs)
        return dict(losses, loss_trades=self.beta * divergence)

    def perturb(self, inputs, target, objective):
        """Adversarial examples of normalised images, (B, C, H, W).

        Args:
            inputs: Normalised images.
            target: Classes (B,) or probabilities (B, classes).
            objective: What they make larger: maps logits and ``target`` to a sum over the batch.
        """
        if self.eps == 0:
            return inputs
        preprocessor = self.data_preprocessor
        mean, std = (preprocessor.mean, preprocessor.std) if preprocessor._enable_normalize else (0.0, 1.0)
        with self._attacked(inputs):
            return pgd(
                lambda images: objective(self(images), target),
                inputs.float(),
                eps=self.eps / std,
                step_size=self.step_size / std,
                steps=self.steps,
                lower=(PIXELS[0] - mean) / std,
                upper=(PIXELS[1] - mean) / std,
                start=self.start,
            )

    @contextmanager
    def _attacked(self, inputs):
        """Inside, no weight, statistic or precision of the training takes part."""
        training = [module for module in self.modules() if module.training] if self.attack_mode == 'eval' else []
        with only_inputs_need_gradients(self), attack_precision('float32', inputs.device.type):
            try:
                for module in training:  # Not self.eval(): parts that freeze themselves in train() would do so again.
                    module.training = False
                yield
            finally:
                for module in training:
                    module.training = True


def _divergence(adv_logits, probabilities):
    """KL(p(x) || p(x_adv)), summed over the batch."""
    return F.kl_div(adv_logits.float().log_softmax(dim=1), probabilities.float(), reduction='sum')


def _targets(data_samples):
    """Classes (B,), or probabilities (B, classes)."""
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])


def _renamed(losses: dict, name: str) -> dict:
    """A key that is exactly ``loss`` would overwrite the logged total."""
    return {name if key == 'loss' else key: value for key, value in losses.items()}
