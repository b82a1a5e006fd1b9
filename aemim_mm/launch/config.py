"""Read a config file, and change it as the caller asks."""

import argparse
import importlib.util
import os.path as osp
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from ..datasets.of_config import check_data, follow_datasets, paired_evaluators, set_data_root, take_simple_layout
from ..engine.resumption import set_timeout, wanted_resume
from ..engine.sharding import check_strategy
from ..errors import UserError


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
    paired = paired_evaluators(cfg)
    if options:
        _merge_options(cfg, list(options))
    cfg.launcher = launcher
    name = osp.splitext(osp.basename(path))[0]
    cfg.work_dir = str(work_dir or cfg.get('work_dir') or osp.join('work_dirs', name))
    set_timeout(cfg)
    check_strategy(cfg)
    if data_root:
        set_data_root(cfg, osp.expanduser(data_root))
    take_simple_layout(cfg)
    follow_datasets(cfg, paired)
    if cfg.get('default_scope') == 'mmpretrain':
        _complete_loaders(cfg)
    return cfg


def _read_config(path: str) -> Config:
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


def _merge_options(cfg: Config, options: list[str]) -> None:
    wrong = [option for option in options if '=' not in option]
    if wrong:
        raise UserError(f'--cfg-options takes KEY=VALUE, as in model.adv_weight=0.5, but got {" ".join(wrong)}.')
    try:
        cfg.merge_from_dict(_parse_options(options))
    # mmengine's parser recurses without end on some brackets.
    except (KeyError, TypeError, RecursionError) as error:
        raise UserError(f'--cfg-options {" ".join(options)} does not fit the config: {error.args[0]}') from error


def _parse_options(options: list[str]) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def _complete_loaders(cfg: Config) -> None:
    """Set the loader fields that mmpretrain's configs leave to mmpretrain's own ``train.py``."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('collate_fn', dict(type='default_collate'))
            cfg[name].setdefault('pin_memory', torch.cuda.is_available())
            cfg[name].setdefault('persistent_workers', cfg[name].get('num_workers', 0) > 0)


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
        asked: A checkpoint; ``auto`` for the latest intact one in the work dir; None to start anew, unless torchrun has
            restarted this job.
    """
    resume = wanted_resume(asked, cfg.work_dir)
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else str(resume)


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
