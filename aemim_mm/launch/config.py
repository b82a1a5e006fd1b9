"""A config file with the user's options on top."""

import argparse
import importlib.util
import os.path as osp
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from ..datasets.of_config import follow_datasets, paired_evaluators, set_data_root, take_simple_layout
from ..engine.resumption import set_timeout
from ..engine.sharding import check_strategy
from ..errors import UserError


def load_config(args) -> Config:
    """The config file with the user's flags on top.

    Args:
        args: With ``config``, ``cfg_options``, ``work_dir``, ``data_root`` and ``launcher``.

    Raises:
        UserError: The file is missing, or an option is none.
    """
    if not osp.isfile(args.config):
        raise UserError(f'There is no config {args.config}. Those of this project are listed in configs/metafile.yml.')
    cfg = _read_config(args.config)
    paired = paired_evaluators(cfg)
    if args.cfg_options:
        _merge_options(cfg, args.cfg_options)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    set_timeout(cfg)
    check_strategy(cfg)
    if args.data_root:
        set_data_root(cfg, osp.expanduser(args.data_root))
    take_simple_layout(cfg)
    follow_datasets(cfg, paired)
    if cfg.get('default_scope') == 'mmpretrain':
        _complete_loaders(cfg)
    return cfg


def _read_config(path: str) -> Config:
    try:
        cfg = Config.fromfile(path)
        if cfg.get('default_scope') == 'mmdet':
            # Before anything is built: it registers our parts, and has what mmdet needs to be imported.
            importlib.import_module('aemim_mm.det')
    except ImportError as error:
        if importlib.util.find_spec('mmdet') or 'mmdet' not in f'{error} {Path(path).read_text(encoding="utf-8")}':
            raise
        raise UserError(
            f"{path} needs mmdet, which is not installed. Install it with: pip install 'aemim-mm[det]' beside the "
            "onedl packages, or pip install 'aemim-mm[openmmlab-det]' beside those of OpenMMLab."
        ) from error
    return cfg


def _merge_options(cfg: Config, options: list) -> None:
    wrong = [option for option in options if '=' not in option]
    if wrong:
        raise UserError(f'--cfg-options takes KEY=VALUE, as in model.adv_weight=0.5, but got {" ".join(wrong)}.')
    try:
        cfg.merge_from_dict(_parse_options(options))
    # mmengine's parser runs in circles over some brackets.
    except (KeyError, TypeError, RecursionError) as error:
        raise UserError(f'--cfg-options {" ".join(options)} does not fit the config: {error.args[0]}') from error


def _parse_options(options: list) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def _complete_loaders(cfg: Config) -> None:
    """mmpretrain's configs leave this to its train.py."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            cfg[name].setdefault('collate_fn', dict(type='default_collate'))
            cfg[name].setdefault('pin_memory', torch.cuda.is_available())
            cfg[name].setdefault('persistent_workers', cfg[name].get('num_workers', 0) > 0)


def set_classes(cfg: Config, classes: str | None, loaders) -> None:
    if cfg.get('default_scope') == 'mmdet':
        from ..det.coco_config import set_classes

        set_classes(cfg, [name.strip() for name in classes.split(',')] if classes else None, loaders)
    elif classes:
        raise UserError('--classes is for detection: this config has no data set of mmdet.')
