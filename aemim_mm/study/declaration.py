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
from ..robustness.suites import SUITES
from .measures import measured_by

FIELDS = ('methods', 'baseline', 'seeds', 'options', 'fine_tuning', 'attacked_images', 'primary')
OPTIONAL = {'suites': ['demo']}


@dataclass(frozen=True)
class Training:
    """A config with changes.

    Args:
        config: The config file.
        options: Changes, each ``KEY=VALUE``.
        then: A training that goes on with the encoder of this one, which it reads from ``model.encoder``.
    """

    config: Path
    options: tuple[str, ...] = ()
    then: 'Training | None' = None

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
        suites: Suites of ``aemim_mm.robustness`` that the fine-tuned network is measured by.
    """

    path: Path
    methods: dict[str, Training]
    baseline: str
    seeds: tuple[int, ...]
    fine_tuning: Training
    attacked_images: int
    primary: str
    suites: tuple[str, ...]

    def runs(self) -> list['Run']:
        """Return all runs, seed by seed, so that an interrupted study has whole pairs."""
        hashes = {name: self._hash(training) for name, training in self.methods.items()}
        return [Run(self, name, seed, hashes[name]) for seed in self.seeds for name in self.methods]

    def _hash(self, pretraining: Training) -> str:
        parts = [pretraining.content(), self.fine_tuning.content(), self.attacked_images]
        # What a study leaves out is no part of its hash, so that a new field does not make old records stale.
        parts += [pretraining.then.content()] if pretraining.then else []
        parts += [self.suites] if list(self.suites) != OPTIONAL['suites'] else []
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
    declared = {**OPTIONAL, **declared}
    fields = {*FIELDS, *OPTIONAL}
    if set(declared) != fields:
        wrong = ', '.join(sorted(set(declared) ^ fields))
        raise UserError(f'A study has the fields {", ".join(FIELDS)}, but {path} differs in {wrong}.')
    methods = {
        name: _training(path, f'method {name}', method, declared['options'])
        for name, method in declared['methods'].items()
    }
    if declared['baseline'] not in methods:
        raise unknown_name('method', declared['baseline'], methods)
    for suite in declared['suites']:
        if suite not in SUITES['classifier']:
            raise unknown_name('suite', suite, SUITES['classifier'])
    if declared['primary'] not in (measures := measured_by(declared['suites'])):
        raise unknown_name('measure', declared['primary'], measures)
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
        suites=tuple(declared['suites']),
    )


def _training(path: Path, name: str, declared: dict, options: Sequence[str] = ()) -> Training:
    fields = {'config', 'options', 'then'} if name.startswith('method') else {'config', 'options'}
    if 'config' not in declared or set(declared) - fields:
        raise UserError(
            f'The {name} of {path} has the fields config and, perhaps, {" and ".join(sorted(fields - {"config"}))}, '
            f'but got {", ".join(declared)}.'
        )
    then = _training(path, f'second training of {name}', declared['then']) if 'then' in declared else None
    return Training((path.parent / declared['config']).resolve(), (*options, *declared.get('options', ())), then)


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
