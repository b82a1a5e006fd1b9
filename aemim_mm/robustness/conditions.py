"""Records: a condition under which models are measured, what one model did under it, and what all models did."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from ..checkpoints.files import write_whole
from ..evaluation.metrics import Interval, accuracy_interval
from .check_records import Check

# The radii of attacks in L-inf, in pixels, 0-255.
EPS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Condition:
    """A set of images and, perhaps, an attack, under which models are measured.

    Args:
        name: Unique in its suite, such as ``pgd/4`` or ``fog/3``.
        group: Heading of the condition in the report.
        dataset: Config of the data set, with its pipeline.
        strength: Place on the x axis of the group's chart: eps, or the severity.
        attack: Config of the attack, as ``AttackedModel`` or ``AttackedEncoder`` takes it; empty for none.
        metric: Config of the metric: ``CorrectMetric``, a subclass of it, or a metric with ``figures``.
        quantize: Round attacked images to 8 bits, inside the budget.
        measure: Name and unit of the figures.
        shown: Names of the figures in the table; empty for all.
        seeded: Whether the pipeline draws random numbers, as in training, so that they must be fixed.
        note: A sentence that a reader of the figures needs; it is in all reports.
    """

    name: str
    group: str
    dataset: dict
    strength: float = 0.0
    attack: dict = field(default_factory=dict)
    metric: dict = field(default_factory=lambda: dict(type='CorrectMetric'))
    quantize: bool = False
    measure: str = 'accuracy, %'
    shown: tuple = ()
    seeded: bool = False
    note: str = ''


def images_of(cfg: Config) -> dict:
    """Return a copy of the config of the test data set."""
    dataset = cfg.test_dataloader.dataset
    return dataset.to_dict() if hasattr(dataset, 'to_dict') else deepcopy(dict(dataset))


@dataclass(frozen=True)
class Measurement:
    """What one model did under one condition.

    Args:
        condition: Name of the condition.
        seconds: Duration of the measurement.
        count: Number of images.
        correct: Whether each image was classified correctly, in the order of the data set; None for other metrics.
        others: Figures other than accuracy: name to ``Interval``.
    """

    condition: str
    seconds: float
    count: int
    correct: np.ndarray | None = None
    others: dict[str, Interval] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Accuracy in percent; only where ``correct`` is known."""
        assert self.correct is not None
        return 100 * float(self.correct.mean())

    def figures(self) -> dict[str, Interval]:
        """Name to ``Interval``; a plain accuracy has the empty name. The ends of an unknown interval are NaN."""
        return {'': accuracy_interval(self.correct)} if self.correct is not None else self.others

    def write(self, path: Path, fingerprint: str) -> None:
        """Write the measurement as JSON, whole or not at all, so that an interruption leaves no incomplete file."""
        content: dict[str, Any] = dict(
            fingerprint=fingerprint, part=self.condition, seconds=self.seconds, count=self.count
        )
        if self.correct is not None:
            content.update(accuracy=self.accuracy, correct=''.join('1' if right else '0' for right in self.correct))
        content['others'] = {name: list(interval) for name, interval in self.others.items()}
        write_whole(path, json.dumps(content).encode())

    @classmethod
    def read(cls, path: Path, fingerprint: str) -> 'Measurement | None':
        """Read a file of :meth:`write`; None if it is missing, damaged, or has another fingerprint."""
        try:
            content = json.loads(path.read_text())
            if content['fingerprint'] != fingerprint:
                return None
            correct = np.array([bit == '1' for bit in content['correct']]) if 'correct' in content else None
            others = {name: Interval(*values) for name, values in content['others'].items()}
            return cls(content['part'], content['seconds'], content['count'], correct, others)
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass
class Robustness:
    """What ``measure`` found; all ranks get the same.

    Attributes:
        conditions: Name to ``Condition``, in the order of the suites.
        measurements: Label of a model to {name of a condition: ``Measurement``}.
        checks: Label of a classifier to its sanity checks.
        missing: Name of a condition to the reason why its data could not be read.
        table: All figures as text, on the main process.
    """

    conditions: dict[str, Condition]
    measurements: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    checks: dict[str, list[Check]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    table: str = ''
