"""Carlini and Wagner's L2 attack, by the package ``foolbox``, and the metric of the distances that it finds."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS
from torch import nn

from ..attacks import check_whole
from ..attacks.pixels import is_number
from ..errors import UserError
from ..evaluation.metrics import accuracy_interval, median_interval
from ..launch.options import parse_value
from .pixels import PixelClassifier

REQUIREMENT = 'foolbox>=3.3.4'
# L2 radii at which robust accuracy is reported, for images from 0 to 1.
RADII = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class CarliniWagner:
    """The L2 attack, which looks for the nearest misclassified image. It has no budget.

    It minimises ``|delta|^2 + c * max(margin, 0)`` by Adam, and searches for the smallest ``c`` that suffices. The cost
    per image is at most ``binary_search_steps * steps`` gradients; a search ends early when the loss of the batch no
    longer falls.

    Args:
        steps: Number of steps of Adam for each ``c``, >= 1. The paper uses 10,000.
        binary_search_steps: Number of values of ``c``, >= 1.
        step_size: Step of Adam, > 0, in the space of the hyperbolic tangent.
        initial_const: The first ``c``, > 0. It grows tenfold until the attack succeeds.
        confidence: By how much another logit must exceed that of the true class, >= 0.

    Raises:
        UserError: ``foolbox`` is not installed, or a value is out of its range.

    Source: Carlini and Wagner, arXiv 1608.04644, section VI-A.
    """

    steps: int = 200
    binary_search_steps: int = 6
    step_size: float = 0.03
    initial_const: float = 0.1
    confidence: float = 0.0

    budget = None
    names = ('cw',)

    def __post_init__(self):
        for name in ('steps', 'binary_search_steps'):
            check_whole(name, getattr(self, name), 1)
        for name in ('step_size', 'initial_const', 'confidence'):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < float('inf') or (value == 0 and name != 'confidence'):
                raise UserError(f'{name} is a number {">=" if name == "confidence" else ">"} 0, but got {value!r}.')
        _foolbox()

    def attempts(self, classifier: PixelClassifier) -> list:
        """Return one function, which maps images in pixels and labels to the nearest misclassified images found.

        Args:
            classifier: A ``PixelClassifier``.
        """

        def attempt(x, labels):
            library = _foolbox()
            attack = library.attacks.L2CarliniWagnerAttack(
                steps=self.steps,
                binary_search_steps=self.binary_search_steps,
                stepsize=self.step_size,
                initial_const=self.initial_const,
                confidence=self.confidence,
            )
            # The library judges the result itself: one that fails is all black.
            model = library.PyTorchModel(_UnitLogits(classifier).eval(), bounds=(0, 1), device=x.device)
            _, x_adv, found = attack(model, x / 255, labels, epsilons=None)
            return (x_adv * 255).where(found[:, None, None, None], x)

        return [attempt]


class _UnitLogits(nn.Module):
    """The logits of images from 0 to 1, as a module without parameters."""

    def __init__(self, classifier: PixelClassifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images):
        return self.classifier.unit_logits(images)


def _foolbox() -> Any:
    try:
        with warnings.catch_warnings():
            # For its blur, which is not used here.
            warnings.filterwarnings('ignore', 'Please import `gaussian_filter`', DeprecationWarning)
            import foolbox
    except ImportError as error:
        raise UserError(
            f"Carlini and Wagner's attack needs the package foolbox, which is not installed. Run: pip install "
            f"'{REQUIREMENT}', or pip install 'aemim-mm[robustness]'."
        ) from error
    return foolbox


def with_options(conditions: list, options: Sequence[str]) -> list:
    """Set fields of the attack in the conditions that have it, and say in their notes how long it looks.

    Args:
        conditions: A list of ``Condition``.
        options: Fields of :class:`CarliniWagner`, each ``KEY=VALUE``.

    Returns:
        The conditions with these fields.

    Raises:
        UserError: An option without ``=``, or no condition has the attack.
    """
    chosen = {}
    for option in options:
        key, separator, value = option.partition('=')
        if not separator:
            raise UserError(f'--cw-options takes KEY=VALUE, as in steps=1000, but got {option}.')
        chosen[key] = parse_value(value)
    if chosen and not any(condition.attack.get('type') == 'cw' for condition in conditions):
        raise UserError('--cw-options is for the suite cw. Add --suite cw, or leave them out.')
    # All fields, so that a measurement with other defaults is not taken for this one.
    attack = {'type': 'cw', **{field.name: field.default for field in fields(CarliniWagner)}, **chosen}
    note = (
        f'CW made up to {attack["binary_search_steps"]} x {attack["steps"]} steps. Its distances are upper bounds, so '
        'accuracy at a distance may be too high. Its images are not rounded to 8 bits.'
    )
    return [
        replace(condition, attack=attack, note=note) if condition.attack.get('type') == 'cw' else condition
        for condition in conditions
    ]


@METRICS.register_module()
class MinimalDistance(BaseMetric):
    """The distances at which an attack without a budget, such as ``CarliniWagner``, broke the images.

    Args:
        radii: L2 radii, for images from 0 to 1.

    Attributes:
        figures: After ``evaluate``, on the main process only: name to ``Interval``. ``median L2``: the median distance
            over the correctly classified images, infinite if the attack broke less than half of them. ``accuracy at
            RADIUS``: the share of all images, in percent, that are classified correctly and were not broken at this
            distance or a smaller one.
    """

    default_prefix = 'minimal_distance'
    figures = None

    def __init__(self, radii: Sequence[float] = RADII):
        super().__init__()
        self.radii = tuple(radii)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the distance of each image: 0 for a misclassified image, infinite for one that was not broken."""
        self.results.extend(sample['distance'] for sample in data_samples)

    def compute_metrics(self, results: list) -> dict:
        distances = np.array(results)
        self.figures = {'median L2': median_interval(distances[distances > 0])}
        self.figures |= {f'accuracy at {radius:g}': accuracy_interval(distances > radius) for radius in self.radii}
        return {name: interval.estimate for name, interval in self.figures.items()}
