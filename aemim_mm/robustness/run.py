"""Run a model under conditions, on mmengine's TestLoop, on one process or several."""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, METRICS
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader, SequentialSampler

from ..engine.ranks import bare_model, on_all_ranks, on_main
from ..errors import UserError
from .attacked_classifier import AttackedModel
from .attacked_detector import DETECTION, AttackedDetector
from .attacked_encoder import ENCODER_ATTACKS, AttackedEncoder, Seeded
from .conditions import Condition, Measurement


class Evaluation:
    """A model, ready to be measured under conditions.

    Args:
        runner: Runner of a config of mmpretrain or mmdet, with the weights loaded.
        loader: Config of the data loader, without its data set.
        out: Folder for one file per measurement.
        identity: A text that differs between models, such as a hash of the weights.
        limit: Number of images: a random sample that is the same for all models and attacks. Default: all.
        seed: Seed of the sample and of random starts.
    """

    def __init__(self, runner: Runner, loader: dict, out: Path, identity: str, limit: int | None = None, seed: int = 0):
        self.runner, self.out, self.identity, self.limit, self.seed = runner, Path(out), identity, limit, seed
        self.loader = {**loader, 'persistent_workers': False}
        self.model = bare_model(runner.model)
        self._built = None, None

    def run(self, condition: Condition, show: Callable[[float], None] = lambda fraction: None) -> Measurement:
        """Measure the model under a condition, or read the file of a finished measurement.

        Args:
            condition: The condition.
            show: Called with the share of the images that are done.

        Raises:
            MissingData: The data set cannot be built; on all ranks.
            UserError: An image or a prediction is wrong; perhaps on one rank alone.
        """
        fingerprint = self.fingerprint(condition)
        path = self.out / f'{condition.name.replace("/", "_")}.json'
        # Rank 0 decides for all ranks. Another rank might see the file that rank 0 is about to write.
        measured = on_main(lambda: Measurement.read(path, fingerprint))
        if measured is None:
            started = time.time()
            try:
                dataset = on_all_ranks(lambda: self.images(condition, self.limit))
            except UserError as error:
                raise MissingData(str(error)) from error
            metric = self._evaluate(condition, dataset, show)
            seconds = time.time() - started
            measured = on_main(lambda: _measurement(condition, seconds, len(dataset), metric))
            if is_main_process():
                measured.write(path, fingerprint)
        show(1.0)
        return measured

    def images(self, condition: Condition, limit: int | None) -> Any:
        """Build the data set of a condition, or a sample of it; the same images as before are not built again."""
        key = json.dumps([condition.dataset, condition.seeded, limit], sort_keys=True, default=str)
        if self._built[0] != key:
            self._built = key, self._build(condition, limit)
        return self._built[1]

    def _build(self, condition: Condition, limit: int | None):
        with quiet():
            dataset = DATASETS.build(deepcopy(condition.dataset))
            if limit is not None and limit < len(dataset):
                chosen = np.random.default_rng(self.seed).permutation(len(dataset))[:limit]
                dataset.get_subset_(sorted(chosen.tolist()))
        return Seeded(dataset, self.seed) if condition.seeded else dataset

    def batches(self, condition: Condition, limit: int | None) -> DataLoader:
        """Return a loader of a sample of the images; each rank gets all of them."""
        dataset = self.images(condition, limit)
        return self.runner.build_dataloader(
            {**self.loader, 'dataset': dataset, 'sampler': SequentialSampler(dataset), 'num_workers': 0}
        )

    def fingerprint(self, *what) -> str:
        """Hash what is measured, how, and on which model."""
        what = [asdict(one) if isinstance(one, Condition) else one for one in what]
        text = json.dumps([what, self.identity, self.limit, self.seed], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _evaluate(self, condition: Condition, dataset, show):
        """Run the TestLoop and return the metric, which holds the figures."""
        with quiet():
            metric = METRICS.build(dict(condition.metric))
        model = self.runner.model
        self.runner.model = self._under_attack(condition) if condition.attack else self.model
        try:
            _ShownTestLoop(self.runner, {**self.loader, 'dataset': dataset}, Evaluator([metric]), show).run()
        finally:
            self.runner.model = model
        return metric

    def _under_attack(self, condition: Condition):
        kind = condition.attack['type']
        wrapper = AttackedEncoder if kind in ENCODER_ATTACKS else AttackedModel
        wrapper = AttackedDetector if kind == DETECTION else wrapper
        return wrapper(self.model, condition.attack, quantize=condition.quantize, seed=self.seed)


class MissingData(UserError):
    """The data of one condition are missing or malformed; the other conditions can go on. Raised on all ranks."""

    everywhere = True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing is printed; pycocotools prints its progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _measurement(condition: Condition, seconds: float, count: int, metric) -> Measurement:
    correct = getattr(metric, 'correct', None)
    if correct is not None:
        return Measurement(condition.name, seconds, len(correct), correct)
    return Measurement(condition.name, seconds, count, others=metric.figures)


class _ShownTestLoop(TestLoop):
    """mmengine's TestLoop with a progress callback, and without its log."""

    def __init__(self, runner, dataloader, evaluator, show):
        super().__init__(runner, dataloader, evaluator)
        self.show = show

    def run(self) -> dict:
        self.runner.model.eval()
        for number, batch in enumerate(self.dataloader):
            self.run_iter(number, batch)
            self.show((number + 1) / len(self.dataloader))
        with quiet():
            return self.evaluator.evaluate(len(self.dataloader.dataset))  # pyright: ignore[reportArgumentType]
