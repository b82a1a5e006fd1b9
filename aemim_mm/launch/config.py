"""Read a config file, and change it as the caller asks."""

import importlib.util
import os.path as osp
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from mmengine.config import Config

from ..datasets.classes import check_classes
from ..datasets.of_config import (
    LOADERS,
    check_data,
    follow_datasets,
    paired_evaluators,
    set_data_root,
    take_simple_layout,
    use_own_readers,
)
from ..engine.resumption import set_timeout
from ..engine.sharding import check_strategy
from ..errors import UserError
from .channels import check_channels
from .config_errors import FIX, reading
from .options import merge_options

# Parts of a config, beside the data loaders, that have fields.
PARTS = ('model', 'optim_wrapper', 'train_cfg', 'val_cfg', 'test_cfg', 'default_hooks', 'env_cfg', 'randomness')


def load_config(
    path: str | PathLike,
    *,
    options: Sequence[str] | None = (),
    data_root: str | PathLike | None = None,
    work_dir: str | PathLike | None = None,
    launcher: str = 'none',
) -> Config:
    """Read a config file and apply the caller's changes to it.

    Args:
        path: The config file.
        options: Changes of single fields, each ``KEY=VALUE``, such as ``model.adv_weight=0.5``.
        data_root: Data folder, in place of ``data_root`` in every data set of the config.
        work_dir: Where logs and checkpoints go. Default: the config's own, else ``work_dirs/<config name>``.
        launcher: What started the processes: ``none``, ``pytorch``, ``slurm`` or ``mpi``.

    Raises:
        UserError: The file does not exist, needs a package that is not installed, or an option does not fit it.
    """
    path = str(path)
    if not osp.isfile(path):
        raise UserError(f'There is no config {path}. configs/metafile.yml lists the configs of this project.')
    cfg = _read_config(path)
    _check_kinds(cfg)
    paired = paired_evaluators(cfg)
    _one_data_preprocessor(cfg)
    merge_options(cfg, options or ())
    _check_kinds(cfg)
    cfg.launcher = launcher
    name = osp.splitext(osp.basename(path))[0]
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or osp.join('work_dirs', name))
    _drop_loss_scale(cfg)
    set_timeout(cfg)
    check_strategy(cfg)
    if data_root:
        set_data_root(cfg, osp.expanduser(data_root))
    use_own_readers(cfg)
    take_simple_layout(cfg)
    follow_datasets(cfg, paired)
    _complete_loaders(cfg)
    return cfg


def _read_config(path: str) -> Config:
    with reading(path):
        try:
            cfg = Config.fromfile(path)
            if cfg.get('default_scope') == 'mmdet':
                # Importing aemim_mm.det provides the compiled operators that mmdet needs, and registers our detectors.
                importlib.import_module('aemim_mm.det')
        except ImportError as error:
            if importlib.util.find_spec('mmdet') or 'mmdet' not in f'{error} {Path(path).read_text(encoding="utf-8")}':
                raise
            raise UserError(
                f"{path} needs mmdet, which is not installed. Install it with: pip install 'aemim-mm[det]' beside the "
                "onedl packages, or pip install 'aemim-mm[openmmlab-det]' beside the OpenMMLab packages."
            ) from error
    return cfg


def _one_data_preprocessor(cfg: Config) -> None:
    """Merge ``data_preprocessor`` of the top level into ``model.data_preprocessor``.

    mmengine ignores the first if a config has both.

    Raises:
        UserError: The two have different values for a field.
    """
    if not cfg.get('model') or not cfg.get('data_preprocessor'):
        return
    outer, inner = cfg.pop('data_preprocessor'), cfg.model.get('data_preprocessor') or {}
    for name in set(outer) & set(inner):
        values = [list(value) if isinstance(value, tuple) else value for value in (outer[name], inner[name])]
        if values[0] != values[1]:
            raise UserError(
                f'The config {cfg.filename} has data_preprocessor.{name}={values[0]!r} and '
                f'model.data_preprocessor.{name}={values[1]!r}, which are one field. Set it in one of the two places.'
            )
    cfg.model.data_preprocessor = {**outer, **inner}


def _check_kinds(cfg: Config) -> None:
    """Raise a UserError if a part that has fields, or a list of parts, is something else, such as a number.

    ``resume`` is a bool: mmengine would take any text for True.
    """
    parts = {name: cfg.get(name) for name in (*LOADERS, *PARTS)}
    parts |= {f'{name}.dataset': parts[name].get('dataset') for name in LOADERS if isinstance(parts[name], dict)}
    for name, part in parts.items():
        absent = part is None and not name.endswith('.dataset')
        if not absent and not isinstance(part, dict):
            raise UserError(f'The config {cfg.filename}: {name} is dict(...), but got {part!r}. {FIX}')
    if not isinstance(cfg.get('custom_hooks') or [], (list, tuple)):
        hooks = cfg.custom_hooks
        raise UserError(f'The config {cfg.filename}: custom_hooks is a list of dict(...), but got {hooks!r}. {FIX}')
    if not isinstance(cfg.get('resume') or False, bool):
        raise UserError(
            f'The config {cfg.filename}: resume is True or False, but got {cfg.resume!r}. To resume from a checkpoint, '
            'use --resume CHECKPOINT.'
        )


def _drop_loss_scale(cfg: Config) -> None:
    """Remove fields of float16 that a base config has, if the optimizer wrapper is of another precision."""
    if (cfg.get('optim_wrapper') or {}).get('type') in ('OptimWrapper', 'Bfloat16OptimWrapper'):
        for name in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(name, None)


def _complete_loaders(cfg: Config) -> None:
    """Set the loader fields that mmpretrain's configs leave to mmpretrain's own ``train.py``.

    Without worker processes, PyTorch refuses the fields that are about them.
    """
    for loader in [cfg[name] for name in LOADERS if cfg.get(name)]:
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', dict(type='default_collate'))
            loader.setdefault('pin_memory', torch.cuda.is_available())
            loader.setdefault('persistent_workers', bool(loader.get('num_workers')))
        if not loader.get('num_workers'):
            for name in ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context'):
                loader.pop(name, None)


def prepare_data(cfg: Config, loaders: Sequence[str], classes: str | None = None) -> None:
    """Check that the data folders exist and, for a detector, set the classes of the annotation files.

    Args:
        cfg: The config, changed in place.
        loaders: Names of the data loaders that will be used.
        classes: Detection: the classes to learn, separated by commas. Default: all categories of the annotation files.

    Raises:
        UserError: A folder, an annotation file or a class is missing; or ``classes`` is set, but the config is not a
            detector's.
    """
    check_data(cfg, loaders)
    check_classes(cfg, loaders)
    check_channels(cfg, loaders)
    if cfg.get('default_scope') == 'mmdet':
        from ..det.coco_config import set_classes, use_checked_types

        use_checked_types(cfg, loaders)
        set_classes(cfg, [name.strip() for name in classes.split(',')] if classes else None, loaders)
    elif classes:
        raise UserError('--classes is for detection, but the config has no data set of mmdet. Leave --classes out.')


def set_resume(cfg: Config, asked: str | None) -> None:
    """Let the training go on from a checkpoint.

    Args:
        cfg: The config, changed in place.
        asked: A checkpoint; ``auto`` for the latest intact one in the work dir; None to start anew.
    """
    if asked:
        cfg.resume, cfg.load_from = True, None if asked == 'auto' else str(asked)


def scale_learning_rate(cfg: Config) -> None:
    """Let mmengine scale the learning rate by the real batch size over ``auto_scale_lr.base_batch_size``.

    Raises:
        UserError: The config states no base batch size.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
    cfg.auto_scale_lr.enable = True
    # mmengine counts the images of one iteration, but a step of the optimizer sees those of all accumulated ones.
    cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
