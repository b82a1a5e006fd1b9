"""Read a study: a Python file that declares methods, seeds and evaluations."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from mmengine.config import Config

from ..attacks import check_whole
from ..errors import UserError, unknown_name
from ..launch import load_config

# The figures that every run measures, accuracies in percent, with their names in tables.
MEASURES = {
    'linear': 'linear probe',
    'knn': '20-NN',
    'fine_tuned': 'fine-tuned',
    'pgd_2': 'PGD, eps 2',
    'pgd_8': 'PGD, eps 8',
    'corrupted': 'corrupted',
}
FIELDS = ('methods', 'baseline', 'seeds', 'options', 'fine_tuning', 'attacked_images', 'primary')


@dataclass(frozen=True)
class Training:
    """A config with changes.

    Args:
        config: The config file.
        options: Changes, each ``KEY=VALUE``.
    """

    config: Path
    options: tuple[str, ...] = ()

    def content(self) -> str:
        """Return the whole config as text. It does not depend on where the file is."""
        cfg = load_config(self.config, options=self.options).to_dict()
        return json.dumps({**cfg, 'work_dir': None}, sort_keys=True, default=str)


@dataclass(frozen=True)
class Study:
    """A grid of runs: each method with each seed.

    Args:
        path: The file of the study. Its name names the study.
        methods: Name of a method to its pre-training.
        baseline: The method that the others are compared with.
        seeds: Seeds, >= 0. Runs with the same seed are a pair: same initial weights, data order and masks.
        fine_tuning: How each pre-trained encoder is fine-tuned.
        attacked_images: Number of test images for attacks and corruptions, a fixed sample.
        primary: The key of ``MEASURES`` that decides.
    """

    path: Path
    methods: dict[str, Training]
    baseline: str
    seeds: tuple[int, ...]
    fine_tuning: Training
    attacked_images: int
    primary: str

    def runs(self) -> list['Run']:
        """Return all runs, seed by seed, so that an interrupted study has whole pairs."""
        hashes = {name: self._hash(training) for name, training in self.methods.items()}
        return [Run(self, name, seed, hashes[name]) for seed in self.seeds for name in self.methods]

    def _hash(self, pretraining: Training) -> str:
        parts = [pretraining.content(), self.fine_tuning.content(), self.attacked_images]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Run:
    """One method with one seed.

    Args:
        study: The study that the run belongs to.
        method: Name of the method.
        seed: The seed of all its trainings.
        config_hash: Hash of everything that the study declares for this method.
    """

    study: Study = field(repr=False)
    method: str
    seed: int
    config_hash: str

    @property
    def name(self) -> str:
        """The run's name, which also names its record and its folder."""
        return f'{self.method}-seed{self.seed}'


def read_study(path: str | PathLike) -> Study:
    """Read the file of a study.

    Paths of configs are relative to the file.

    Raises:
        UserError: The file is missing, a field is missing or unknown, a name is unknown, or a number is out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'There is no study {path}. The studies of this project are in configs/studies/.')
    # Names that begin with _ are the file's own.
    declared = {name: value for name, value in Config.fromfile(path).to_dict().items() if name[0] != '_'}
    if set(declared) != set(FIELDS):
        wrong = ', '.join(sorted(set(declared) ^ set(FIELDS)))
        raise UserError(f'A study has the fields {", ".join(FIELDS)}, but {path} differs in {wrong}.')
    methods = {
        name: _training(path, f'method {name}', method, declared['options'])
        for name, method in declared['methods'].items()
    }
    if declared['baseline'] not in methods:
        raise unknown_name('method', declared['baseline'], methods)
    if declared['primary'] not in MEASURES:
        raise unknown_name('measure', declared['primary'], MEASURES)
    seeds, attacked = declared['seeds'], declared['attacked_images']
    if len(set(seeds)) < len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f'seeds of {path} are different whole numbers >= 0, but got {seeds}.')
    check_whole('attacked_images', attacked, 1)
    return Study(
        path=path,
        methods=methods,
        baseline=declared['baseline'],
        seeds=tuple(seeds),
        fine_tuning=_training(path, 'fine_tuning', declared['fine_tuning']),
        attacked_images=attacked,
        primary=declared['primary'],
    )


def _training(path: Path, name: str, declared: dict, options: Sequence[str] = ()) -> Training:
    if 'config' not in declared or set(declared) - {'config', 'options'}:
        raise UserError(
            f'The {name} of {path} has the fields config and, perhaps, options, but got {", ".join(declared)}.'
        )
    return Training((path.parent / declared['config']).resolve(), (*options, *declared.get('options', ())))


def chosen(runs: list[Run], names: Sequence[str]) -> list[Run]:
    """Return the runs of these names; a method's name stands for all its runs, and no name for all runs.

    Raises:
        UserError: A name is unknown.
    """
    known = {name for run in runs for name in (run.method, run.name)}
    for name in names:
        if name not in known:
            raise unknown_name('run', name, known)
    return [run for run in runs if not names or run.method in names or run.name in names]
