"""Do models, checkpoints and images belong together, and are the images there? Asked before any work."""

import hashlib
import zlib
from copy import deepcopy
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.registry import DATASETS as CLASSIFICATION

from ..checkpoints.fit import check_checkpoint
from ..datasets.shift import ShiftedImageNet
from ..engine.ranks import on_main
from ..errors import UserError
from .measurement import quiet
from .models_under_test import Setup


def check_targets(targets: list, trusted: bool) -> None:
    """Models, checkpoints and images belong together. No rank waits for another here.

    Raises:
        UserError: A checkpoint does not fit; a classifier is none, or of other classes than the test data; the configs
            have different images.
    """
    images, several = {}, len({target.setup.path for target in targets}) > 1
    for target in targets:
        setup = target.setup
        if setup.path not in images:
            init_default_scope(setup.cfg.default_scope)
            first = next(iter(setup.parts.values()))
            with quiet():
                dataset = DATASETS.build(deepcopy(first.dataset))
            if setup.kind == 'classifier':
                _check_classes(setup, dataset)
            # Reading a large data set through takes its time.
            images[setup.path] = _identity(dataset) if several else None
        check_checkpoint(setup.model, target.checkpoint, 'all', trusted=trusted)
    (path, expected), *others = images.items()
    for other, found in others:
        if found != expected:
            raise UserError(
                f'{path} has other test images than {other}: {expected[0]} and {found[0]}, whose names, places or '
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
            'it was trained with, or say where its data are with --data-root DIR.'
        )


def _identity(dataset) -> tuple:
    """The number of images, and a digest of their names (of their pixels where they have none) and labels."""
    digest = hashlib.sha256()
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        if 'img_path' in info:
            what = Path(info['img_path']).parts[-2:]
        elif 'img' in info:
            what = zlib.crc32(bytes(memoryview(torch.as_tensor(info['img']).contiguous().numpy()).cast('B')))
        else:
            what = number
        label = info.get('gt_label')
        digest.update(repr((what, label if label is None else torch.as_tensor(label).tolist())).encode())
    return len(dataset), digest.hexdigest()


def missing_data(targets: list) -> dict:
    """Test sets on disk that are not there, or not as they should be: name of the part to the reason.

    Only their folders are looked at, by rank 0.

    Raises:
        UserError: A classifier is of other classes than a test set that is there; on all ranks.
    """
    return on_main(lambda: _missing(targets))


def _missing(targets: list) -> dict:
    missing, present = {}, []
    parts = targets[0].setup.parts.values() if targets[0].setup.kind == 'classifier' else ()
    for part in parts:
        kind = CLASSIFICATION.get(part.dataset['type'])
        if isinstance(kind, type) and issubclass(kind, ShiftedImageNet):
            try:
                CLASSIFICATION.build({**part.dataset, 'pipeline': [], 'lazy_init': True}).check_layout()
                present.append((part, len(kind.METAINFO['classes'])))
            except UserError as error:
                missing[part.name] = str(error)
    for target in targets:
        for part, known in present:
            classes = target.setup.classes
            if classes and classes != known:
                raise UserError(
                    f'{target.label} tells {classes} classes apart, but {part.name} has labels of {known}. Take a '
                    'classifier of ImageNet, or leave out this suite.'
                )
    return missing


def say_missing(missing: dict) -> None:
    """Name what is missing, one line for each data set."""
    by_set = {}
    for name, reason in missing.items():
        by_set.setdefault(name.split('/')[0], []).append((name, reason))
    for found in by_set.values() if is_main_process() else ():
        name, reason = found[0]
        more = f' and {len(found) - 1} like it' if len(found) > 1 else ''
        print(f'skipped {name}{more}: {reason}', flush=True)
