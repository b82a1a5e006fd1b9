"""How good is a model on images that were attacked, corrupted, or come from elsewhere?

One figure, or a few that belong together, is a :class:`Part`. Parts run on mmengine's TestLoop, on one process or many,
and what is finished is not done again. tools/robustness.py is the command.
"""

import contextlib
import hashlib
import io
import json
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, METRICS
from mmengine.runner import Runner, TestLoop
from torch.utils.data import SequentialSampler

from ..checkpoints.files import write_whole
from ..engine.ranks import on_all_ranks, on_main
from ..errors import UserError
from ..evaluation.metrics import Interval, accuracy_interval
from .attacked_classifier import AttackedModel
from .attacked_encoder import ENCODER_ATTACKS, AttackedEncoder, Seeded


@dataclass(frozen=True)
class Part:
    """One model on one set of images.

    Args:
        name: Unique in its suite, such as ``pgd/4`` or ``fog/3``.
        group: The heading it stands under in the report.
        dataset: Config of the data set, with its pipeline.
        strength: What the group's chart has on its x axis: eps, or the severity.
        attack: Config of the attack, as ``AttackedModel`` or ``AttackedEncoder`` takes it; empty for none.
        metric: Config of what judges the predictions: ``CorrectMetric`` or one made of it, or one with ``figures``.
        quantize: Round attacked images to 8 bits, inside the budget.
        measure: What the figures are, with their unit.
        shown: Which of several figures are in the table; empty for all.
        seeded: Whether the pipeline draws random numbers, as one of training does, so that they are to be fixed.
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


@dataclass(frozen=True)
class Result:
    """What a part gave.

    Args:
        part: Its name.
        seconds: How long it took.
        count: Number of images.
        correct: For each image in the order of the data set, whether it was classified correctly; None where that is
            not the question.
        others: Figures of another kind, by name.
    """

    part: str
    seconds: float
    count: int
    correct: np.ndarray | None = None
    others: dict = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * float(self.correct.mean())

    def figures(self) -> dict:
        """Name to ``Interval``; the name of a plain accuracy is empty. NaN: the interval is not known."""
        return {'': accuracy_interval(self.correct)} if self.correct is not None else self.others

    def write(self, path: Path, fingerprint: str) -> None:
        """At once or not at all, so that an interrupted run leaves no half of a result."""
        content = dict(fingerprint=fingerprint, part=self.part, seconds=self.seconds, count=self.count)
        if self.correct is not None:
            content.update(accuracy=self.accuracy, correct=''.join('1' if right else '0' for right in self.correct))
        content['others'] = {name: list(interval) for name, interval in self.others.items()}
        write_whole(path, json.dumps(content).encode())

    @classmethod
    def read(cls, path: Path, fingerprint: str):
        """The result in a file, or None if it is missing or of another evaluation."""
        try:
            content = json.loads(path.read_text())
            if content['fingerprint'] != fingerprint:
                return None
            correct = np.array([bit == '1' for bit in content['correct']]) if 'correct' in content else None
            others = {name: Interval(*values) for name, values in content['others'].items()}
            return cls(content['part'], content['seconds'], content['count'], correct, others)
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Evaluation:
    """A model under test, ready to run parts.

    Args:
        runner: Of a config of mmpretrain or mmdet, with the weights loaded.
        loader: Config of the data loader, without its data set.
        out: Folder for the results of the parts.
        identity: Anything by which results of another model are told apart, such as a hash of the weights.
        limit: Take only so many images, a random sample that is the same for all models and attacks.
        seed: Of that sample and of random starts.

    Raises:
        UserError: ``limit`` is no number of images.
    """

    def __init__(self, runner: Runner, loader: dict, out: Path, identity: str, limit=None, seed=0):
        self.runner, self.out, self.identity, self.limit, self.seed = runner, Path(out), identity, limit, seed
        self.loader = {**loader, 'persistent_workers': False}
        self.model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        self._built = None, None
        check_limit(limit)

    def run(self, part: Part, show=lambda fraction: None) -> Result:
        """The result of a part; what is finished is read from its file.

        Args:
            show: Called with the share of the images that are done.

        Raises:
            MissingData: The data set cannot be built; on all ranks.
            UserError: Something is wrong with an image or a prediction; maybe on one rank alone.
        """
        fingerprint = self.fingerprint(part)
        path = self.out / f'{part.name.replace("/", "_")}.json'
        # Rank 0 decides: others might see a file that it is about to write.
        result = on_main(lambda: Result.read(path, fingerprint))
        if result is None:
            started = time.time()
            try:
                dataset = on_all_ranks(lambda: self.images(part, self.limit))
            except UserError as error:
                raise MissingData(str(error)) from error
            metric, values = self._measure(part, dataset, show)
            seconds = time.time() - started
            result = on_main(lambda: _result(part, seconds, len(dataset), metric, values))
            if is_main_process():
                result.write(path, fingerprint)
        show(1.0)
        return result

    def images(self, part: Part, limit):
        """The data set of a part, or a sample of it; parts that follow each other on the same images share it."""
        key = json.dumps([part.dataset, part.seeded, limit], sort_keys=True, default=str)
        if self._built[0] != key:
            self._built = key, self._build(part, limit)
        return self._built[1]

    def _build(self, part: Part, limit):
        with quiet():
            dataset = DATASETS.build(deepcopy(part.dataset))
            if limit is not None and limit < len(dataset):
                chosen = np.random.default_rng(self.seed).permutation(len(dataset))[:limit]
                dataset.get_subset_(sorted(chosen.tolist()))
        return Seeded(dataset, self.seed) if part.seeded else dataset

    def batches(self, part: Part, limit):
        """A loader of a sample of a part's images, all of them on each rank."""
        dataset = self.images(part, limit)
        return self.runner.build_dataloader(
            {**self.loader, 'dataset': dataset, 'sampler': SequentialSampler(dataset), 'num_workers': 0}
        )

    def fingerprint(self, *what) -> str:
        """Of what is measured, how, and on which model."""
        what = [asdict(one) if isinstance(one, Part) else one for one in what]
        text = json.dumps([what, self.identity, self.limit, self.seed], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _measure(self, part: Part, dataset, show):
        with quiet():
            metric = METRICS.build(dict(part.metric))
        model = self.runner.model
        self.runner.model = self._under_attack(part) if part.attack else self.model
        try:
            values = _ShownTestLoop(self.runner, {**self.loader, 'dataset': dataset}, Evaluator([metric]), show).run()
        finally:
            self.runner.model = model
        return metric, values

    def _under_attack(self, part: Part):
        wrapper = AttackedEncoder if part.attack['type'] in ENCODER_ATTACKS else AttackedModel
        return wrapper(self.model, part.attack, quantize=part.quantize, seed=self.seed)


class MissingData(UserError):
    """A part's data are not there, or not as they should be; the other parts can go on. Raised on all ranks."""

    everywhere = True


def check_limit(limit) -> None:
    """Raise a UserError unless ``--limit`` is a number of images, or None."""
    if limit is not None and limit < 1:
        raise UserError(f'--limit is a number of images, at least 1, but got {limit}.')


@contextlib.contextmanager
def quiet():
    """pycocotools prints what it does."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _result(part: Part, seconds: float, count: int, metric, values: dict) -> Result:
    correct = getattr(metric, 'correct', None)
    if correct is not None:
        return Result(part.name, seconds, len(correct), correct)
    return Result(part.name, seconds, count, others=metric.figures)


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
        with quiet():
            return self.evaluator.evaluate(len(self.dataloader.dataset))
