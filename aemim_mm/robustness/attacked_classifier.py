"""A classifier under attack, as a model that mmengine's TestLoop runs, on one process or several."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmpretrain.registry import METRICS, MODELS

from ..attacks import AttackResult, keep_first_success, l2_norm
from ..errors import UserError, unknown_name
from .autoattack import AutoAttack
from .carlini_wagner import CarliniWagner
from .pixels import PixelClassifier, left_as_it_was
from .whitebox import WhiteBox, feature_pgd, fgsm

ATTACKS = {'fgsm': fgsm, 'pgd': WhiteBox, 'feature': feature_pgd, 'autoattack': AutoAttack, 'cw': CarliniWagner}


def build_attack(config: Any) -> Any:
    """Build an attack from a config such as ``dict(type='pgd', eps=4, steps=20)``; an attack is returned as it is.

    Raises:
        UserError: An unknown type or field, or a value out of its range.
    """
    if not isinstance(config, dict):
        return config
    fields = dict(config)
    name = fields.pop('type', None)
    if name not in ATTACKS:
        raise unknown_name('attack', name, ATTACKS)
    known = signature(ATTACKS[name]).parameters
    unknown = set(fields) - set(known)
    if unknown:
        raise unknown_name(f'field of attack {name}', sorted(unknown)[0], known)
    if 'eps' in known and 'eps' not in fields:
        raise UserError(f'The attack {name} has no eps. Expected: a radius in pixels, 0-255, such as eps=4.')
    return ATTACKS[name](**fields)


@MODELS.register_module()
class AttackedModel(BaseModel):
    """A classifier that is tested on adversarial examples made against it.

    The attack runs in float32 on the model in eval mode, and changes nothing in the model. The classifier then predicts
    in the precision of the test. Images that are misclassified without an attack are not perturbed. A checkpoint of the
    classifier loads into this model, too.

    Args:
        classifier: A classifier of mmpretrain, or its config.
        attack: An attack, or its config: ``type`` (``fgsm``, ``pgd``, ``feature``, ``autoattack``, ``cw``), ``eps``,
            ``norm`` and more; see ``aemim_mm.robustness.whitebox``, ``autoattack`` and ``carlini_wagner``.
        quantize: Round the perturbed images to 8 bits, inside the budget; see ``aemim_mm.attacks.Budget.quantize``. An
            attack without a budget is not rounded.
        seed: Seed of the random starts. Each batch begins with it, so a result does not depend on what ran before.

    Raises:
        UserError: The config of the attack is wrong, the classifier has too few classes for it, or the data
            preprocessor does not state its normalisation.
    """

    def __init__(self, classifier: Any, attack: Any, quantize: bool = False, seed: int = 0):
        if isinstance(classifier, dict):
            classifier = MODELS.build(classifier)
        super().__init__(data_preprocessor=classifier.data_preprocessor)
        self.classifier = classifier
        self.attack = build_attack(attack)
        classes = getattr(getattr(classifier, 'head', None), 'num_classes', None)
        if classes and isinstance(self.attack, AutoAttack):
            self.attack.check_classes(classes)
        self.quantize, self.seed = quantize, seed
        self._register_load_state_dict_pre_hook(_into_classifier)

    def test_step(self, data: Any) -> list:
        """Attack a batch and predict its classes.

        Args:
            data: A batch of the data loader, with ``gt_label`` in its data samples.

        Returns:
            The classifier's data samples with three more fields. ``broken_by`` is the name of the attempt that broke
            the image, ``clean`` if the clean image was misclassified, or ``none`` if the image withstood all attempts.
            ``attempts`` has the names of all attempts. ``distance`` is the L2 norm of the perturbation that broke the
            image, for images from 0 to 1: 0 for ``clean``, infinite for ``none``.
        """
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        classifier = PixelClassifier(self.classifier)
        pixels = classifier.to_pixels(inputs)
        result = self.perturb(inputs, labels_of(samples).to(pixels.device))
        # An image that no attack has changed is passed on bit for bit.
        changed = (result.x_adv != pixels).flatten(1).any(dim=1)
        perturbed = classifier.space.normalize(result.x_adv)
        inputs = torch.where(changed[:, None, None, None], perturbed, inputs)
        with left_as_it_was(self.classifier, float32=False), torch.no_grad():
            predictions = self.classifier(inputs, samples, mode='predict')
        names = ('clean', *self.attack.names, 'none')
        distances = (l2_norm(result.x_adv - pixels).flatten() / 255).masked_fill(~result.success, float('inf'))
        for sample, attempt, distance in zip(predictions, result.attempt.tolist(), distances.tolist()):
            sample.set_metainfo(dict(broken_by=names[attempt], attempts=names[1:-1], distance=distance))
        return predictions

    val_step = test_step

    def perturb(self, inputs: torch.Tensor, labels: torch.Tensor) -> AttackResult:
        """Attack one batch.

        Args:
            inputs: Normalised images, (B, C, H, W).
            labels: Their classes, (B,).

        Returns:
            ``x_adv`` in pixels, 0-255, within the budget if there is one, and the first attempt that broke each image.

        Raises:
            UserError: The classifier does not have the class of a label.
        """
        classifier, budget = PixelClassifier(self.classifier), self.attack.budget
        pixels = classifier.to_pixels(inputs)

        def within_budget(attack):
            def attempt(x, labels):
                x_adv = budget.ball(x).project(attack(x, labels))
                return budget.quantize(x_adv, x) if self.quantize else x_adv

            return attempt

        with left_as_it_was(self.classifier, seed=self.seed):
            labels = labels.clone()  # In inference mode, this makes a normal tensor.
            with torch.no_grad():
                classes = classifier.logits(pixels[:1]).shape[1]
            if int(labels.min()) < 0 or int(labels.max()) >= classes:
                raise UserError(
                    f'The data set has the label {int(labels.max())}, but the classifier has {classes} classes, from 0 '
                    f'to {classes - 1}. Test it on the data set that it was trained for.'
                )
            attempts = self.attack.attempts(classifier)
            if budget is not None:
                attempts = [within_budget(attack) for attack in attempts] if budget.eps else []
            return keep_first_success(attempts, classifier.classes, pixels, labels)

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Call the classifier, without an attack."""
        return self.classifier(inputs, data_samples, mode=mode)


@METRICS.register_module()
class RobustAccuracy(BaseMetric):
    """Robust accuracy of an ``AttackedModel`` in percent: ``clean``, ``after_NAME`` for each attempt, and ``robust``.

    An image counts as robust if it is classified correctly and no attempt broke it. This metric judges by the passes of
    the attack, in float32; mmpretrain's ``Accuracy`` judges by the predictions of the test.
    """

    default_prefix = 'robust_accuracy'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store which attempt broke each image."""
        self.results.extend((sample['broken_by'], tuple(sample['attempts'])) for sample in data_samples)

    def compute_metrics(self, results: list) -> dict:
        """Compute the share of images that withstood each attempt and those before it."""
        broken = [by for by, _ in results]
        names = ('clean', *results[0][1])
        left = [100 * sum(by not in names[:count] for by in broken) / len(broken) for count in range(1, len(names) + 1)]
        after = {f'after_{name}': value for name, value in zip(names[1:], left[1:])}
        return dict(clean=left[0], **after, robust=left[-1])


def labels_of(data_samples: Sequence) -> torch.Tensor:
    """Return the classes of a batch, (B,).

    Raises:
        UserError: A data sample does not have exactly one label.
    """
    if not data_samples or any('gt_label' not in sample or len(sample.gt_label) != 1 for sample in data_samples):
        raise UserError(
            'An attack needs one label for each image, but a data sample has none, or several. '
            'Attack on a data set with single labels, and end its pipeline with PackInputs.'
        )
    return torch.cat([sample.gt_label for sample in data_samples])


def _into_classifier(state_dict, prefix, *_):
    """Put ``classifier.`` in front of the names in a classifier's checkpoint, in place."""
    names = [name[len(prefix) :] for name in state_dict if name.startswith(prefix)]
    names = [name for name in names if not name.startswith('data_preprocessor.')]
    if not all(name.startswith('classifier.') for name in names):
        for name in names:
            state_dict[f'{prefix}classifier.{name}'] = state_dict.pop(prefix + name)
