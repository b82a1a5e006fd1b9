"""How often is a classifier right on images that were attacked, corrupted, or come from elsewhere?

One figure is a :class:`Part`. Parts run on mmengine's TestLoop, on one process or many, and what is finished is not
done again. tools/robustness.py is the command.
"""

import hashlib
import json
import os
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from mmpretrain.registry import DATASETS, METRICS

from ..errors import UserError
from .attacked import AttackedModel


@dataclass(frozen=True)
class Part:
    """One classifier on one set of images.

    Args:
        name: Unique in its suite, such as ``pgd/4`` or ``fog/3``.
        group: The heading it stands under in the report.
        dataset: Config of the data set, with its pipeline.
        strength: What the group's chart has on its x axis: eps, or the severity.
        attack: Config of the attack, as ``AttackedModel`` takes it; empty for images as they are.
        metric: Config of what judges the predictions: ``CorrectMetric``, or one made of it.
    """

    name: str
    group: str
    dataset: dict
    strength: float = 0.0
    attack: dict = field(default_factory=dict)
    metric: dict = field(default_factory=lambda: dict(type='CorrectMetric'))


@dataclass(frozen=True)
class Result:
    """What a part gave.

    Args:
        part: Its name.
        correct: For each image in the order of the data set, whether it was classified correctly.
        seconds: How long it took.
    """

    part: str
    correct: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * float(self.correct.mean())

    def write(self, path: Path, fingerprint: str) -> None:
        """At once or not at all, so that an interrupted run leaves no half of a result."""
        bits = ''.join('1' if right else '0' for right in self.correct)
        content = dict(part=self.part, accuracy=self.accuracy, count=len(bits), seconds=self.seconds, correct=bits)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix('.incomplete')
        temporary.write_text(json.dumps(dict(fingerprint=fingerprint, **content)))
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path, fingerprint: str):
        """The result in a file, or None if it is missing or of another evaluation."""
        try:
            content = json.loads(path.read_text())
            if content['fingerprint'] != fingerprint:
                return None
            return cls(content['part'], np.array([bit == '1' for bit in content['correct']]), content['seconds'])
        except (OSError, ValueError, KeyError):
            return None


class Evaluation:
    """A classifier under test, ready to run parts.

    Args:
        runner: Of a config of mmpretrain, with the weights loaded.
        out: Folder for the results of the parts.
        identity: Anything by which results of another classifier are told apart, such as a hash of the weights.
        limit: Take only so many images, a random sample that is the same for all classifiers and attacks.
        seed: Of that sample and of random starts.

    Raises:
        UserError: ``limit`` is no number of images.
    """

    def __init__(self, runner: Runner, out: Path, identity: str, limit=None, seed=0):
        self.runner, self.out, self.identity, self.limit, self.seed = runner, Path(out), identity, limit, seed
        self.model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        if limit is not None and limit < 1:
            raise UserError(f'--limit is a number of images, at least 1, but got {limit}.')

    def run(self, part: Part, show=lambda fraction: None) -> Result:
        """The result of a part; what is finished is read from its file.

        Args:
            show: Called with the share of the images that are done.
        """
        fingerprint = self._fingerprint(part)
        path = self.out / f'{part.name.replace("/", "_")}.json'
        # Rank 0 decides: others might see a file that it is about to write.
        result = _from_main(lambda: Result.read(path, fingerprint))
        if result is None:
            started = time.time()
            metric = self._measure(part, show)
            result = _from_main(lambda: Result(part.name, metric.correct, time.time() - started))
            if is_main_process():
                result.write(path, fingerprint)
        show(1.0)
        return result

    def _measure(self, part: Part, show):
        dataset = self._dataset(part)
        loader = {**self.runner.cfg.test_dataloader, 'dataset': dataset, 'persistent_workers': False}
        metric = METRICS.build(dict(part.metric))
        model = self.runner.model
        self.runner.model = AttackedModel(self.model, part.attack, seed=self.seed) if part.attack else self.model
        try:
            _ShownTestLoop(self.runner, loader, Evaluator([metric]), show).run()
        finally:
            self.runner.model = model
        return metric

    def _dataset(self, part: Part):
        dataset = DATASETS.build(deepcopy(part.dataset))
        if self.limit is not None and self.limit < len(dataset):
            chosen = np.random.default_rng(self.seed).permutation(len(dataset))[: self.limit]
            dataset.get_subset_(sorted(chosen.tolist()))
        return dataset

    def _fingerprint(self, part: Part) -> str:
        text = json.dumps([asdict(part), self.identity, self.limit, self.seed], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _from_main(make):
    """What ``make`` returns on rank 0, on all ranks."""
    found = [make() if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


class _ShownTestLoop(TestLoop):
    """TestLoop that says how far it is, and does not log."""

    def __init__(self, runner, dataloader, evaluator, show):
        super().__init__(runner, dataloader, evaluator)
        self.show = show

    def run(self) -> dict:
        self.runner.model.eval()
        for number, batch in enumerate(self.dataloader):
            self.run_iter(number, batch)
            self.show((number + 1) / len(self.dataloader))
        return self.evaluator.evaluate(len(self.dataloader.dataset))
