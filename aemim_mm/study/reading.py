"""Read a study: a Python file that declares methods, seeds and evaluations."""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from mmengine.config import Config

from ..attacks import check_whole
from ..attacks.pixels import is_number
from ..errors import UserError, unknown_name
from ..export.source import DOMAINS
from ..robustness.suites import SUITES
from .declaration import DEFAULT, Measured, Study, Training
from .measures import MEASURES

FIELDS = ('methods', 'baseline', 'seeds', 'options', 'fine_tuning', 'attacked_images', 'primary')
OPTIONAL = dict(other_tunings={}, pretrained=None, margin=None)
MEASURED = ('suites', 'only', 'images')


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
    if wrong := set(declared) ^ {*FIELDS, *OPTIONAL}:
        raise UserError(
            f'A study has the fields {", ".join(FIELDS)} and, perhaps, {", ".join(OPTIONAL)}, but {path} differs in '
            f'{", ".join(sorted(wrong))}.'
        )
    _check_lists(declared, ('seeds', 'options'), str(path))
    read = _Reader(path)
    study = Study(
        path=path,
        methods={
            name: read.training(f'method {name}', method, ('then', 'seeds', 'fine_tuning_options'), declared['options'])
            for name, method in declared['methods'].items()
        },
        baseline=declared['baseline'],
        seeds=tuple(declared['seeds']),
        fine_tuning=declared['fine_tuning']
        and read.training('fine_tuning', {'suites': DEFAULT.suites, **declared['fine_tuning']}, MEASURED),
        attacked_images=declared['attacked_images'],
        primary=declared['primary'],
        other_tunings={
            name: read.training(f'tuning {name}', tuning, (*MEASURED, 'methods', 'domain'))
            for name, tuning in declared['other_tunings'].items()
        },
        pretrained=read.measured('pretrained', 'pre-training model', declared['pretrained'] or {}, ('epochs',)),
        margin=declared['margin'],
    )
    _check(study)
    return study


def _check(study: Study) -> None:
    """Raise a UserError if a name is unknown, or a number is out of range."""
    for name in (*study.methods, *study.other_tunings):
        # It is a part of names of files, and of measures.
        if not re.fullmatch(r'(?!(pretrained|epoch-\d+)$)[\w.-]+', name):
            raise UserError(
                f'Names in {study.path} are made of letters, digits, "_", "-" and ".", and are neither "pretrained" '
                f'nor "epoch-N", but got {name!r}.'
            )
    if study.baseline not in study.methods:
        raise unknown_name('method', study.baseline, study.methods)
    seeds = list(study.seeds)
    if len(set(seeds)) < len(seeds) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f'seeds of {study.path} are different whole numbers >= 0, but got {seeds}.')
    for tuning in study.other_tunings.values():
        if tuning.domain not in DOMAINS:
            raise unknown_name('domain', tuning.domain, DOMAINS)
        for name in set(tuning.methods) - set(study.methods):
            raise unknown_name('method', name, study.methods)
    for name, method in study.methods.items():
        if not set(method.seeds) <= set(seeds):
            raise UserError(
                f'seeds of the method {name} of {study.path} are some of {seeds}, the seeds of the study, but got '
                f'{list(method.seeds)}.'
            )
    check_whole('attacked_images', study.attacked_images, 1)
    for epoch in study.pretrained.epochs:
        check_whole('an epoch of pretrained', epoch, 1)
    if study.margin is not None and not (is_number(study.margin) and study.margin > 0):
        raise UserError(
            f'margin of {study.path} is a number > 0, in the unit of its primary measure, but got {study.margin!r}.'
        )
    if study.primary is not None and str(study.primary).rpartition('/')[2] not in MEASURES:
        raise unknown_name('measure', study.primary, MEASURES)


def _check_lists(declared: dict, fields: Sequence[str], owner: str) -> None:
    """Raise a UserError if one of these fields is no list; a text would be read as its letters."""
    for field in fields:
        if not isinstance(declared.get(field, ()), (list, tuple)):
            raise UserError(f'{field} of {owner} is a list, but got {declared[field]!r}.')


class _Reader:
    """Reads the parts of a study's file."""

    def __init__(self, path: Path):
        self.path = path

    def training(self, name: str, declared: dict, more: Sequence[str] = (), options: Sequence[str] = ()) -> Training:
        """Read a training, which may have the fields of ``more``."""
        self._check_fields(name, declared, ('config',), ('options', *more))
        then = declared.get('then')
        return Training(
            config=(self.path.parent / declared['config']).resolve(),
            options=(*options, *declared.get('options', ())),
            then=None if then is None else self.training(f'second training of {name}', then),
            measured=self.measured(name, 'classifier', {key: declared[key] for key in MEASURED if key in declared}),
            methods=tuple(declared.get('methods', ())),
            seeds=tuple(declared.get('seeds', ())),
            fine_tuning_options=tuple(declared.get('fine_tuning_options', ())),
            domain=declared.get('domain', 'clean'),
        )

    def measured(self, name: str, kind: str, declared: dict, more: Sequence[str] = ()) -> Measured:
        """Read what is measured of a kind of model."""
        self._check_fields(name, declared, (), (*MEASURED, *more))
        for suite in declared.get('suites', ()):
            if suite not in SUITES[kind]:
                raise unknown_name('suite', suite, SUITES[kind])
        images = declared.get('images', 0)
        check_whole(f'images of the {name}', images, 0)
        return Measured(
            **{field: tuple(value) for field, value in declared.items() if field != 'images'}, images=images
        )

    def _check_fields(self, name: str, declared: dict, needed: Sequence[str], offered: Sequence[str]) -> None:
        if set(needed) - set(declared) or set(declared) - {*needed, *offered}:
            raise UserError(
                f'The {name} of {self.path} has the fields {", ".join([*needed, *offered])}, but got '
                f'{", ".join(declared)}.'
            )
        lists = ('options', 'suites', 'only', 'epochs', 'methods', 'seeds', 'fine_tuning_options')
        _check_lists(declared, lists, f'the {name} of {self.path}')
