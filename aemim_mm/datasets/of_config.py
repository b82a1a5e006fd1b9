"""The data sets of a config: set their folders, and check that the folders exist."""

import os
import os.path as osp
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmpretrain.registry import DATASETS

from ..errors import UserError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LAYOUTS = {
    'ImageNet': '{train,val}/<class>/*.JPEG with 1000 classes',
    'CustomDataset': '<class>/*.jpg',
    'UnlabelledFolder': 'any/depth/*.jpg',
    'FashionMNIST': 'train-images-idx3-ubyte and the three files beside it',
    'CocoDataset': 'annotations/instances_{train,val}2017.json and {train,val}2017/*.jpg, or '
    'annotations/{train,val}.json and {train,val}/*.jpg',
}
LAYOUTS['DemoFashionMNIST'] = LAYOUTS['FashionMNIST']
LAYOUTS['SkippingCocoDataset'] = LAYOUTS['CocoDataset']
LAYOUTS['LabelledFolder'] = LAYOUTS['CustomDataset']
SKIPPING = ('LabelledFolder', 'UnlabelledFolder', 'SkippingCocoDataset')
# Arguments of LoadImageFromFile that choose another decoder, or hide an error.
OTHER_DECODERS = ('imdecode_backend', 'ignore_empty', 'file_client_args')


def kind_of(part: dict) -> str:
    """Return the name of the class of a part of a config, without scope."""
    kind = part.get('type', '')
    return (kind if isinstance(kind, str) else kind.__name__).split('.')[-1]


def datasets(cfg: Config, loaders: Sequence[str] = LOADERS) -> Iterator[Any]:
    """Yield the data set configs of these data loaders, inside wrappers such as ``ConcatDataset`` too."""
    pending = [cfg[name].get('dataset') for name in loaders if cfg.get(name)]
    while pending:
        dataset = pending.pop()
        inner = dataset.get('datasets') or ([dataset.dataset] if 'dataset' in dataset else [])
        pending.extend(inner)
        if not inner:
            yield dataset


def set_data_root(cfg: Config, root: str) -> None:
    """Set ``data_root`` of every data set. Absolute paths of files below the old root become relative to it."""
    for dataset in datasets(cfg):
        old = dataset.get('data_root')
        dataset.data_root = root
        for name in ('ann_file', 'proposal_file'):
            path = dataset.get(name)
            if old and isinstance(path, str) and path.startswith(osp.join(old, '')):
                dataset[name] = osp.relpath(path, old)


def annotation_file(dataset: dict) -> str:
    """Return the path of a data set's annotation file, joined as in mmengine."""
    return osp.join(osp.expanduser(dataset.get('data_root') or ''), dataset.get('ann_file') or '')


def as_list(value) -> list:
    """Return a list of config entries, where mmengine takes one entry or several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def paired_evaluators(cfg: Config) -> list[tuple[str, int]]:
    """Find the evaluators that read the annotation file of their data set.

    Returns:
        Pairs of the name of the data loader and the number of the evaluator.
    """
    pairs = []
    for name, evaluator in ((name, cfg.get(name.replace('dataloader', 'evaluator'))) for name in LOADERS):
        files = [annotation_file(dataset) for dataset in datasets(cfg, (name,))]
        for number, item in enumerate(as_list(evaluator or {})):
            if len(files) == 1 and item.get('ann_file') == files[0]:
                pairs.append((name, number))
    return pairs


def follow_datasets(cfg: Config, pairs: list[tuple[str, int]]) -> None:
    """Set the annotation file of each evaluator from :func:`paired_evaluators` to that of its data set."""
    for name, number in pairs:
        evaluator = cfg.get(name.replace('dataloader', 'evaluator'))
        items = list(datasets(cfg, (name,)))
        if evaluator and len(items) == 1:
            as_list(evaluator)[number]['ann_file'] = annotation_file(items[0])


def use_own_readers(cfg: Config) -> None:
    """Let all data sets of a config read image files by this project's classes.

    ``LoadWholeImage`` takes the place of ``LoadImageFromFile``, so that one decoder reads all images.
    ``LabelledFolder`` or ``UnlabelledFolder`` takes the place of mmpretrain's ``CustomDataset``.
    ``UnreadableImagesHook`` is added if the training data may skip images.
    """
    for dataset in datasets(cfg):
        if kind_of(dataset) == 'CustomDataset':
            folder = 'LabelledFolder' if dataset.pop('with_label', True) else 'UnlabelledFolder'
            dataset['type'] = f'mmpretrain.{folder}'
        for step in dataset.get('pipeline') or ():
            if kind_of(step) == 'LoadImageFromFile':
                step['type'] = 'mmpretrain.LoadWholeImage'
                for name in OTHER_DECODERS:
                    step.pop(name, None)
    skipping = any(kind_of(dataset) in SKIPPING for dataset in datasets(cfg, ('train_dataloader',)))
    hooks = list(cfg.get('custom_hooks') or ())
    if skipping and 'UnreadableImagesHook' not in map(kind_of, hooks):
        cfg.custom_hooks = [*hooks, dict(type='UnreadableImagesHook')]


def take_simple_layout(cfg: Config) -> None:
    """Use ``annotations/{train,val}.json`` and ``{train,val}/`` where COCO's own layout is absent."""
    for dataset in datasets(cfg):
        root = osp.expanduser(dataset.get('data_root') or '')
        found = re.fullmatch(r'annotations/instances_(train|val)2017\.json', str(dataset.get('ann_file')))
        if not found or osp.exists(annotation_file(dataset)):
            continue
        split = found[1]
        if osp.isfile(osp.join(root, f'annotations/{split}.json')):
            dataset.ann_file = f'annotations/{split}.json'
            prefix = dataset.get('data_prefix') or {}
            if prefix.get('img') == f'{split}2017/' and osp.isdir(osp.join(root, split)):
                prefix['img'] = f'{split}/'


def check_data(cfg: Config, loaders: Sequence[str]) -> None:
    """Check that the data folders of these data loaders exist, and that ImageNet has 1000 classes.

    Raises:
        UserError: A folder is missing. The message names the folder, the expected layout and the flag that sets it.
    """
    for dataset in datasets(cfg, loaders):
        root = dataset.get('data_root')
        if not root or '://' in root:
            continue
        kind = kind_of(dataset)
        expected = f' Expected in the data root: {LAYOUTS[kind]}.' if kind in LAYOUTS else ''
        folders = folders_of(dataset)
        for folder in folders:
            if not osp.isdir(folder):
                raise UserError(
                    f'There is no data folder {osp.abspath(folder)} ({kind}, data_root={root!r}).{expected} '
                    'Put the data there, or name the folder with --data-root DIR.'
                )
        if kind == 'ImageNet' and not has_list(dataset):
            classes = [entry.name for entry in os.scandir(folders[-1]) if entry.is_dir()]
            hidden = ''.join(f' with the hidden {name}' for name in classes if name.startswith('.'))
            if len(classes) != 1000:
                raise UserError(
                    f'The data folder {osp.abspath(folders[-1])} has {len(classes)} class folders{hidden}, not 1000 '
                    f'({kind}, data_root={root!r}).{expected} Put the data there, or name the folder with --data-root '
                    'DIR. For other images, use configs/aemim_vit-b_folder.py.'
                )


def folders_of(dataset: dict) -> list:
    """Return the folders that a data set reads: its root, then the folders of its ``data_prefix`` or ``split``."""
    root, prefix = osp.expanduser(dataset.get('data_root') or ''), dataset.get('data_prefix')
    if not prefix and kind_of(dataset) == 'ImageNet':
        prefix = dataset.get('split')
    prefixes = prefix.values() if isinstance(prefix, dict) else [prefix]
    return [root, *[osp.join(root, osp.expanduser(name)) for name in prefixes if isinstance(name, str) and name]]


def has_list(dataset: dict) -> bool:
    """Whether this ImageNet reads a list of its images, or has other classes."""
    listed = osp.join(osp.expanduser(dataset.get('data_root') or ''), 'meta', f'{dataset.get("split")}.txt')
    return bool(dataset.get('ann_file') or dataset.get('metainfo') or osp.isfile(listed))


def labelled_data(config: str | PathLike | Config, split: str) -> BaseDataset:
    """Build labelled images without augmentation, all of them, whatever ``limit`` the config sets.

    Args:
        config: A classifier's config, of whose pipelines the test's is used; or a config without a test, whose training
            data are ``DemoFashionMNIST``.
        split: ``'train'`` or ``'test'``.

    Raises:
        UserError: The config has no such data.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(os.fspath(config))
    dataset = cfg.get(f'{split}_dataloader', cfg.train_dataloader).dataset
    if cfg.get('test_dataloader'):
        changes = dict(pipeline=cfg.test_dataloader.dataset.pipeline)
    elif kind_of(dataset) == 'DemoFashionMNIST':
        changes = dict(split=split, test_mode=split == 'test', pipeline=[dict(type='PackInputs')])
    else:
        raise UserError(
            f'{cfg.filename} has no labelled images: its training data are {kind_of(dataset)}, and it has no test. '
            'Name the config of a classifier, such as configs/demo/vit-tiny_16e_openclipart.py: --data CONFIG'
        )
    return DATASETS.build({**dataset, **(dict(limit=None) if 'limit' in dataset else {}), **changes})
