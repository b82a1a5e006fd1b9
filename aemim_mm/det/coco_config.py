"""Set the classes of a detection config, and check its annotation files before any work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, METRICS
from mmengine import list_from_file
from mmengine.config import Config
from mmengine.logging import print_log

from ..datasets.of_config import annotation_file, as_list, datasets
from ..errors import UserError, first_of
from .annotation_files import CocoAnnotations, keep, read_annotations
from .annotation_masks import check_masks

# Heads whose num_classes does not count the classes of objects.
OTHER_HEADS = ('rpn_head', 'semantic_head')


@dataclass
class _Use:
    """How a config uses an annotation file.

    Attributes:
        kind: Class of the data set.
        wanted: Names of the classes to learn, or a file with the names; None for all.
        masks: Why masks are needed; empty if they are not.
        measured: Whether an evaluator compares with the annotations.
        kept: Whether mmdet can take what the check has read.
    """

    kind: type[CocoDataset]
    wanted: Any
    masks: str = ''
    measured: bool = False
    kept: bool = False


def use_checked_types(cfg: Config, loaders: Iterable[str]) -> None:
    """Let mmdet's own data sets and metrics read annotation files as ours do: mended, and once.

    Args:
        cfg: A config of mmdet, changed in place: ``CocoDataset`` becomes ``CheckedCocoDataset``, and ``CocoMetric``
            becomes ``CocoFigures``. Subclasses of other projects stay.
        loaders: Names of the data loaders that will be used.
    """
    for loader in loaders:
        for dataset in datasets(cfg, (loader,)):
            if DATASETS.get(dataset.type) is CocoDataset:
                dataset.type = 'CheckedCocoDataset'
        for evaluator in _evaluators(cfg, loader):
            if METRICS.get(evaluator.type) is CocoMetric:
                evaluator.type = 'CocoFigures'


def set_classes(cfg: Config, classes: list[str] | None, loaders: Iterable[str]) -> None:
    """Set the classes in the data sets and heads of a config.

    Args:
        cfg: A config of mmdet, changed in place.
        classes: Names of categories to learn. None: the classes that the config names, or else all categories of the
            annotation files. If these are the 80 categories of COCO, the config is not changed.
        loaders: Names of the data loaders that will be used, such as ``'train_dataloader'``.

    Raises:
        UserError: An annotation file is missing or malformed, or lacks a class or masks; two files disagree; or no
            head has classes.
    """
    found, images = {}, {}
    loaders = tuple(loaders)
    for path, use in _uses(cfg, classes, loaders).items():
        content = read_annotations(path)
        _check_use(path, content, use)
        known = use.kind.METAINFO.get('classes', ())
        found[path] = _classes_of(path, _names(content), use.wanted, known)
        images[path] = {image['id'] for image in content['images']}
        if use.kept:
            keep(path, content)
    if not found:
        if classes:
            raise UserError('--classes is for data sets in the format of COCO; this config has none.')
        return
    names = _common(found)
    _check_evaluators(cfg, loaders, images)
    if names is not None:
        for dataset in datasets(cfg):
            dataset.metainfo = {**(dataset.get('metainfo') or {}), 'classes': names}
        if not _set_heads(cfg.model, len(names)):
            raise UserError(f'No head of the model {cfg.model.type} has num_classes, to be set to {len(names)}.')
        print_log(f'{len(names)} classes: {_shown(names)}', 'current')


def read_categories(path: str) -> tuple:
    """Read the names of the categories of an annotation file, in the file's order, which mmdet's labels follow.

    Raises:
        UserError: As :func:`read_annotations`.
    """
    return _names(read_annotations(path))


def _names(content: dict) -> tuple:
    return tuple(category['name'] for category in content['categories'])


def _common(found: dict[str, tuple | None]) -> tuple | None:
    """The classes of all files, which must agree."""
    (first, names), *others = found.items()
    for path, other in others:
        if other != names:
            raise UserError(
                f'{first} and {path} disagree: their categories are {_shown(names)}, and {_shown(other)}. Expected the '
                'same names in the same order. Make them agree, or name those of both with --classes A,B,C.'
            )
    return names


def _evaluators(cfg: Config, loader: str) -> list:
    """Return the configs of the metrics on a data loader."""
    return as_list(cfg.get(loader.replace('dataloader', 'evaluator')) or [])


def _coco_metrics(cfg: Config, loader: str) -> Iterator:
    """Yield the configs of metrics that read an annotation file in COCO's format."""
    for evaluator in _evaluators(cfg, loader):
        kind = METRICS.get(evaluator.type)
        path = evaluator.get('ann_file')
        if isinstance(kind, type) and issubclass(kind, CocoMetric) and path and '://' not in path:
            yield evaluator


def _uses(cfg: Config, classes: list[str] | None, loaders: Iterable[str]) -> dict[str, _Use]:
    """Find the annotation files of these data loaders and of their evaluators."""
    uses: dict[str, _Use] = {}
    for loader in loaders:
        use: _Use | None = None
        for dataset in datasets(cfg, (loader,)):
            kind, path = DATASETS.get(dataset.type), annotation_file(dataset)
            if not (isinstance(kind, type) and issubclass(kind, CocoDataset) and dataset.get('ann_file')):
                continue
            if '://' not in path:
                wanted = classes or (dataset.get('metainfo') or {}).get('classes')
                use = uses.setdefault(path, _Use(kind, wanted))
                use.kept |= issubclass(kind.COCOAPI, CocoAnnotations)
                if any(isinstance(step, dict) and step.get('with_mask') for step in dataset.get('pipeline') or []):
                    use.masks = use.masks or f'the pipeline of {loader} loads masks (with_mask=True)'
        if use is None:
            continue
        for evaluator in _coco_metrics(cfg, loader):
            measured = uses.setdefault(evaluator.ann_file, _Use(use.kind, use.wanted))
            measured.measured |= not evaluator.get('format_only')
            if 'segm' in as_list(evaluator.get('metric', 'bbox')):
                measured.masks = measured.masks or f'the evaluator of {loader} measures masks (metric segm)'
    return uses


def _check_use(path: str, content: dict, use: _Use) -> None:
    if use.masks:
        check_masks(path, content, use.masks)
    if use.measured and not content.get('annotations'):
        raise UserError(
            f'The annotation file {path} has no annotations, so there is nothing to measure. Name another file, train '
            'without validation (--no-validate), or write predictions only (test_evaluator.format_only=True).'
        )


def _check_evaluators(cfg: Config, loaders: Iterable[str], images: dict[str, set]) -> None:
    """Each image that is tested is in the annotation file of the evaluator."""
    for loader in loaders:
        paths = [path for path in map(annotation_file, datasets(cfg, (loader,))) if path in images]
        for evaluator in _coco_metrics(cfg, loader):
            for path in paths:
                lacking = images[path] - images.get(evaluator.ann_file, images[path])
                if lacking:
                    raise UserError(
                        f'The evaluator of {loader} reads {evaluator.ann_file}, which lacks {len(lacking)} of the '
                        f'{len(images[path])} images of {path}, such as id {next(iter(lacking))!r}. Let both read the '
                        'same file.'
                    )


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
