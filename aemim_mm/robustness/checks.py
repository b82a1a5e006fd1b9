"""Checks before a measurement: models, checkpoints and images belong together, and the images are there."""

import hashlib
import zlib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.registry import DATASETS as CLASSIFICATION

from ..checkpoints.fit import check_checkpoint
from ..datasets.classes import check_labels
from ..datasets.shift import ShiftedImageNet
from ..engine.ranks import on_main
from ..errors import UserError
from .conditions import Condition
from .models_under_test import ModelUnderTest, Setup
from .run import quiet


def check_models(models: list[ModelUnderTest], trusted: bool) -> None:
    """Check that each checkpoint fits its model, and each model the images. No rank waits for another here.

    Raises:
        UserError: A checkpoint does not fit; a model is not a classifier, or has other classes than the test data; the
            configs have different images.
    """
    images, several = {}, len({model.setup.path for model in models}) > 1
    for model in models:
        setup = model.setup
        if setup.path not in images:
            init_default_scope(setup.cfg.default_scope)
            first = next(iter(setup.conditions.values()))
            with quiet():
                dataset = DATASETS.build(deepcopy(first.dataset))
            if setup.kind == 'classifier':
                _check_classes(setup, dataset)
            # Only if configs are compared: reading all entries of a large data set takes a while.
            images[setup.path] = _identity(dataset) if several else None
        check_checkpoint(setup.model, model.checkpoint, 'all', trusted=trusted)
    (path, expected), *others = images.items()
    for other, found in others:
        if found != expected:
            raise UserError(
                f'{path} has other test images than {other}: {expected[0]} and {found[0]}, whose names, order or '
                'labels differ. Models are compared on the same images: set the same test_dataloader.dataset in both, '
                'or measure them in separate runs.'
            )


def _check_classes(setup: Setup, dataset) -> None:
    model = setup.model
    if not hasattr(model, 'head') or not hasattr(model, 'extract_feat'):
        raise UserError(f'{type(model).__name__} is no classifier. Take a config with model type ImageClassifier.')
    setup.classes = getattr(model.head, 'num_classes', None)
    known = len(dataset.metainfo.get('classes') or ())
    if setup.classes and known and setup.classes != known:
        raise UserError(
            f'The classifier tells {setup.classes} classes apart, but the test data have {known}. Take the config that '
            'it was trained with, or name its data folder with --data-root DIR.'
        )
    check_labels(dataset, model)


def _identity(dataset) -> tuple:
    """Return the number of images, and a hash of their labels and names, or of their pixels if they have no names."""
    digest = hashlib.sha256()
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        if 'img_path' in info:
            what = Path(info['img_path']).parts[-2:]
        elif 'img' in info:
            what = zlib.crc32(torch.as_tensor(info['img']).numpy().tobytes())
        else:
            what = number
        label = info.get('gt_label')
        digest.update(repr((what, label if label is None else torch.as_tensor(label).tolist())).encode())
    return len(dataset), digest.hexdigest()


def missing_data(models: list[ModelUnderTest]) -> dict[str, str]:
    """Find the test sets under distribution shift that are missing or malformed on disk.

    Rank 0 looks, and only at folders.

    Returns:
        Name of a condition to the reason.

    Raises:
        UserError: A classifier has other classes than a test set that is there; on all ranks.
    """
    return on_main(lambda: _missing(models))


def _missing(models: list[ModelUnderTest]) -> dict[str, str]:
    missing, present = {}, []
    conditions = models[0].setup.conditions.values() if models[0].setup.kind == 'classifier' else ()
    for condition in conditions:
        kind = CLASSIFICATION.get(condition.dataset['type'])
        if isinstance(kind, type) and issubclass(kind, ShiftedImageNet):
            try:
                CLASSIFICATION.build({**condition.dataset, 'pipeline': [], 'lazy_init': True}).check_layout()
                present.append((condition.name, len(kind.METAINFO['classes'])))
            except UserError as error:
                missing[condition.name] = str(error)
    for model in models:
        for name, known in present:
            classes = model.setup.classes
            if classes and classes != known:
                raise UserError(
                    f'{model.label} tells {classes} classes apart, but {name} has labels of {known}. Take a '
                    'classifier of ImageNet, or leave out this suite.'
                )
    return missing


def say_notes(conditions: Iterable[Condition]) -> None:
    """Print the notes of conditions, each once."""
    for note in dict.fromkeys(condition.note for condition in conditions if condition.note):
        if is_main_process():
            print(f'note: {note}', flush=True)


def say_missing(missing: dict) -> None:
    """Print the missing data sets, one line each."""
    by_set = {}
    for name, reason in missing.items():
        by_set.setdefault(name.split('/')[0], []).append((name, reason))
    for found in by_set.values() if is_main_process() else ():
        name, reason = found[0]
        more = f' and {len(found) - 1} like it' if len(found) > 1 else ''
        print(f'skipped {name}{more}: {reason}', flush=True)
