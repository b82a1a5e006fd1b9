"""What a study is: methods, seeds and evaluations."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from ..errors import unknown_name
from ..launch import load_config


@dataclass(frozen=True)
class Measured:
    """What is measured by ``aemim_mm.robustness.measure``.

    Args:
        suites: Names of suites. Without any, nothing is measured.
        only: Patterns of names of conditions. Without any, all are measured.
        epochs: Of a pre-training: the epochs whose checkpoints are measured, beside the last.
        images: Number of test images, a fixed sample. 0: as many as the study's ``attacked_images``.
    """

    suites: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    images: int = 0

    def declared(self) -> list:
        """Return the fields up to the last one that is given."""
        fields = list(astuple(self))
        while fields and not fields[-1]:
            fields.pop()
        return fields


DEFAULT = Measured(('demo',))  # Of the field fine_tuning.


@dataclass(frozen=True)
class Training:
    """A config with changes.

    Args:
        config: The config file.
        options: Changes, each ``KEY=VALUE``.
        then: A training that goes on with the encoder of this one, which it reads from ``model.encoder``.
        measured: How the trained network is measured.
        methods: Of a fine-tuning: the methods whose encoders are fine-tuned so. Without any, those of all.
        seeds: Of a method: the seeds of the study that it is run with. Without any, all.
        fine_tuning_options: Of a method: changes of every fine-tuning of its encoder, each ``KEY=VALUE``.
        domain: Of a fine-tuning: ``'clean'``, or ``'adv'`` to begin with the adapters of the adversarial domain.
    """

    config: Path
    options: tuple[str, ...] = ()
    then: 'Training | None' = None
    measured: Measured = Measured()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    fine_tuning_options: tuple[str, ...] = ()
    domain: str = 'clean'

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
        fine_tuning: How each pre-trained encoder is fine-tuned. Its images, all of them, are those of the probes. None:
            it is not fine-tuned.
        attacked_images: Number of test images for attacks and corruptions, a fixed sample.
        primary: The measure that decides, as of ``measure_of``. None: no comparison of methods decides.
        other_tunings: Further ways to fine-tune the encoder, by name.
        pretrained: How the pre-training model itself is measured.
        margin: A loss of the primary measure that does not matter, > 0: a method has "no loss" if it loses less.
    """

    path: Path
    methods: dict[str, Training]
    baseline: str
    seeds: tuple[int, ...]
    fine_tuning: Training | None
    attacked_images: int
    primary: str | None
    other_tunings: dict[str, Training]
    pretrained: Measured
    margin: float | None

    def runs(self) -> list['Run']:
        """Return all runs, seed by seed, so that an interrupted study has whole pairs."""
        hashes = {name: self._hash(name) for name in self.methods}
        return [
            Run(self, name, seed, hashes[name])
            for seed in self.seeds
            for name, method in self.methods.items()
            if seed in (method.seeds or self.seeds)
        ]

    def other_tunings_of(self, method: str) -> dict[str, Training]:
        """Return the further ways to fine-tune the encoder of a method, by name."""
        tunings = {name: each for name, each in self.other_tunings.items() if method in (each.methods or (method,))}
        return {name: self._changed(tuning, method) for name, tuning in tunings.items()}

    def tunings_of(self, method: str) -> dict[str, Training]:
        """Return all ways to fine-tune the encoder of a method, by name. That of ``fine_tuning`` is empty."""
        first = {'': self._changed(self.fine_tuning, method)} if self.fine_tuning else {}
        return {**first, **self.other_tunings_of(method)}

    def _changed(self, tuning: Training, method: str) -> Training:
        return replace(tuning, options=(*tuning.options, *self.methods[method].fine_tuning_options))

    def _hash(self, method: str) -> str:
        pretraining, tuning = self.methods[method], self.tunings_of(method).get('')
        parts: list = [pretraining.content(), tuning and tuning.content(), self.attacked_images]
        # What a study leaves out is no part of its hash, so that a new field does not make old records stale.
        parts += [pretraining.then.content()] if pretraining.then else []
        parts += [tuning.measured.declared()] if tuning and tuning.measured != DEFAULT else []
        others = self.other_tunings_of(method)
        for name, each in others.items():
            domain = [each.domain] if each.domain != 'clean' else []
            parts.append([name, each.content(), each.measured.declared(), *domain])
        parts += [self.pretrained.declared()] if self.pretrained.suites else []
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
