"""Set the classes of a detection config, and check its annotation files before any work."""

import json
import os.path as osp
from collections.abc import Iterable
from pathlib import Path

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine import list_from_file
from mmengine.config import Config
from mmengine.logging import print_log

from ..datasets.of_config import annotation_file, datasets
from ..errors import UserError, first_of

LAYOUT = (
    'Expected a file in the format of COCO: images with id, file_name, height and width; categories with id and name; '
    'annotations with id, image_id, category_id, bbox and area.'
)
FIELDS = dict(
    images=('id', 'file_name', 'height', 'width'),
    categories=('id', 'name'),
    annotations=('id', 'image_id', 'category_id', 'bbox', 'area'),
)
# Heads whose num_classes does not count the classes of objects.
OTHER_HEADS = ('rpn_head', 'semantic_head')


def set_classes(cfg: Config, classes: list[str] | None, loaders: Iterable[str]) -> None:
    """Set the classes in the data sets and heads of a config.

    Args:
        cfg: A config of mmdet, changed in place.
        classes: Names of categories to learn. None: the classes that the config names, or else all categories of the
            annotation files. If these are the 80 categories of COCO, the config is not changed.
        loaders: Names of the data loaders that will be used, such as ``'train_dataloader'``.

    Raises:
        UserError: An annotation file is missing, malformed or lacks a class; two files disagree; or no head has
            classes.
    """
    found = {}
    for dataset in (dataset for loader in loaders for dataset in datasets(cfg, (loader,))):
        kind = DATASETS.get(dataset.type)
        if isinstance(kind, type) and issubclass(kind, CocoDataset) and dataset.get('ann_file'):
            wanted = classes or (dataset.get('metainfo') or {}).get('classes')
            path = annotation_file(dataset)
            if '://' not in path:
                known = kind.METAINFO.get('classes', ())
                found[path] = _classes_of(path, read_categories(path), wanted, known)
    if not found:
        if classes:
            raise UserError('--classes is for data sets in the format of COCO; this config has none.')
        return
    (first, names), *others = found.items()
    for path, other in others:
        if other != names:
            raise UserError(
                f'{first} and {path} disagree: their categories are {_shown(names)}, and {_shown(other)}. Expected the '
                'same names in the same order. Make them agree, or name those of both with --classes A,B,C.'
            )
    if names is not None:
        for dataset in datasets(cfg):
            dataset.metainfo = {**(dataset.get('metainfo') or {}), 'classes': names}
        if not _set_heads(cfg.model, len(names)):
            raise UserError(f'No head of the model {cfg.model.type} has num_classes, to be set to {len(names)}.')
        print_log(f'{len(names)} classes: {_shown(names)}', 'current')


def read_categories(path: str) -> tuple:
    """Read the names of the categories of an annotation file, in the file's order, which mmdet's labels follow.

    Raises:
        UserError: The file does not exist, is malformed, or refers to a category that it lacks.
    """
    if not osp.isfile(path):
        raise UserError(
            f'There is no annotation file {osp.abspath(path)}. Put it there, or say where the data are with '
            '--data-root DIR, or name the file with --cfg-options train_dataloader.dataset.ann_file=FILE.'
        )
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise UserError(
            f'The annotation file {path} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}. Copy or '
            'export it again.'
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f'The annotation file {path} is no JSON: {error}. Copy or export it again.') from error
    content = content if isinstance(content, dict) else {}
    for part, fields in FIELDS.items():
        # COCO's files for test images have no annotations.
        items = content.get(part, [] if part == 'annotations' and 'image_info' in path else None)
        if not isinstance(items, list):
            raise UserError(f'The annotation file {path} has no list of {part}. {LAYOUT}')
        for number, item in enumerate(items):
            lacking = [name for name in fields if name not in item] if isinstance(item, dict) else fields
            if lacking:
                raise UserError(
                    f'The annotation file {path}: number {number} of its {part} has no {lacking[0]}. {LAYOUT}'
                )
    return _checked_categories(path, content)


def _checked_categories(path: str, content: dict) -> tuple:
    names = {category['id']: category['name'] for category in content['categories']}
    if len(names) != len(content['categories']) or len(set(names.values())) != len(names):
        raise UserError(f'The annotation file {path} has two categories of the same id or name. Rename one.')
    for item in content.get('annotations', ()):
        if item['category_id'] not in names:
            raise UserError(
                f'The annotation file {path}: annotation {item["id"]} is of category_id {item["category_id"]}, which '
                f'is none of its categories ({_shown([f"{number}: {name}" for number, name in names.items()])}). Add '
                'the category, or mend the annotation.'
            )
    return tuple(names.values())


def _classes_of(path: str, names: tuple, wanted, known: tuple) -> tuple | None:
    """The names to learn, in the order of the file; None if the config needs no change."""
    if wanted is None:
        return None if names == tuple(known) else names
    if isinstance(wanted, str):
        wanted = list_from_file(wanted)
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise UserError(
            f'The annotation file {path} has no category {", ".join(map(repr, lacking))}. It has {_shown(names)}. '
            'Name some of these with --classes A,B,C, or take another file.'
        )
    return tuple(name for name in names if name in wanted)


def _set_heads(node, count: int, in_head=False) -> int:
    """Set ``num_classes`` in all heads that classify objects, at any depth; return the number of heads."""
    if isinstance(node, (list, tuple)):
        return sum(_set_heads(item, count, in_head) for item in node)
    if not isinstance(node, dict):
        return 0
    done = 0
    for name, value in node.items():
        if name == 'num_classes' and in_head:
            node[name] = count
            done += 1
        elif name not in OTHER_HEADS:
            done += _set_heads(value, count, in_head or (name.endswith('head') and name != 'roi_head'))
    return done


def _shown(names) -> str:
    return first_of(names, 12) if names is not None else 'those of COCO'
