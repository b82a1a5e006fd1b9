"""What the command-line tools share: a config with the user's flags, checked before any work, and a runner for it."""

import argparse
import importlib.util
import os
import os.path as osp
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine import dist
from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from .checkpoint import check_checkpoint
from .data_checks import check_data, follow_datasets, paired_evaluators, set_data_root, take_simple_layout
from .errors import UserError
from .loading import checkpoint_loading
from .models import NonFiniteLossError
from .ranks import sigterm_restored, start_processes
from .resumption import choose_checkpoint, known_failure, make_resumable, set_timeout, wanted_resume
from .sharding import check_optimizer, check_strategy


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


def _set_classes(cfg: Config, classes: str | None, loaders) -> None:
    if cfg.get('default_scope') == 'mmdet':
        from .det.coco_config import set_classes

        set_classes(cfg, [name.strip() for name in classes.split(',')] if classes else None, loaders)
    elif classes:
        raise UserError('--classes is for detection: this config has no data set of mmdet.')


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner of this config; on machines without an accelerator, processes talk over gloo."""
    if cfg.launcher == 'pytorch' and not dist.is_distributed():
        start_processes(cfg.env_cfg.dist_cfg)
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    try:
        return RUNNERS.build(cfg) if cfg.get('runner_type') else Runner.from_cfg(cfg)
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        raise UserError(
            f'The config has a field that nothing takes: {error}. Mend its name, in the config or in --cfg-options.'
        ) from error


def check_start(runner: Runner, need: str, trusted=False) -> None:
    """Refuse to start from, or resume, a checkpoint that does not fit the model."""
    path = runner._load_from
    if runner._resume and path is None:
        path = find_latest_checkpoint(runner.work_dir)
    if path:
        report = check_checkpoint(_model(runner), path, 'same' if runner._resume else need, trusted=trusted)
        print_log(f'{path} is loaded: {report}', logger='current')


def check_pretrained(runner: Runner, trusted=False) -> None:
    """Refuse an ``init_cfg`` of type Pretrained with a checkpoint that does not fit, or with none."""
    for name, module in _model(runner).named_modules():
        init_cfg = getattr(module, 'init_cfg', None) or []
        for init in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
            if init.get('type') != 'Pretrained':
                continue
            if not init.get('checkpoint'):
                field = '.'.join(['model', *([name] if name else []), 'init_cfg'])
                raise UserError(
                    f'{field} has no checkpoint to start from. Say which with --cfg-options {field}.checkpoint=FILE, '
                    f'or train from scratch with --cfg-options {field}=None.'
                )
            prefix = init.get('prefix') or ''
            prefix += '.' if prefix and not prefix.endswith('.') else ''
            report = check_checkpoint(module, init['checkpoint'], 'most', prefix, trusted=trusted)
            print_log(f'{name or "model"} is loaded from {init["checkpoint"]}: {report}', logger='current')


def _model(runner: Runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def check_image_size(runner: Runner) -> None:
    """Refuse, when it comes, an image smaller than a patch, which OpenMMLab's models would pad without a word."""
    for module in _model(runner).modules():
        # mmpretrain and mmdet have one each.
        if type(module).__name__ == 'PatchEmbed':
            module.register_forward_pre_hook(_refuse_small)


def _refuse_small(module, args) -> None:
    (height, width), (rows, columns) = args[0].shape[-2:], module.projection.kernel_size
    if height < rows or width < columns:
        raise UserError(
            f'An image of {height}x{width} pixels is smaller than a patch of {rows}x{columns}. Change the crop or '
            'resize of the pipeline, or patch_size.'
        )


def check_batches(runner: Runner) -> None:
    """Refuse a data set too small for a single batch."""
    loader = runner.train_dataloader
    if len(loader) == 0:
        raise UserError(
            f'The training data, {len(loader.dataset)} images, do not fill one batch of {loader.batch_size} on each '
            'rank. Lower it with --cfg-options train_dataloader.batch_size=N, or add images.'
        )


def train(args) -> None:
    """``tools/train.py``."""
    cfg = load_config(args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'Bfloat16OptimWrapper'
    make_resumable(cfg)
    check_optimizer(cfg)
    resume = wanted_resume(args.resume, cfg.work_dir)
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
        # mmengine takes one iteration for the whole batch.
        cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    _set_classes(cfg, args.classes, ('train_dataloader', 'val_dataloader'))
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        choose_checkpoint(runner, args.trust_checkpoint)
        check_pretrained(runner, args.trust_checkpoint)
        check_start(runner, 'encoder', args.trust_checkpoint)
        check_batches(runner)
        check_image_size(runner)
        with sigterm_restored():
            runner.train()


def test(args) -> None:
    """``tools/test.py``."""
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise UserError(f'{args.config} has nothing to test: it has no test_dataloader or no test_evaluator.')
    check_data(cfg, ('test_dataloader',))
    _set_classes(cfg, args.classes, ('test_dataloader',))
    if args.out:
        cfg.test_evaluator = [*_as_list(cfg.test_evaluator), dict(type='DumpResults', out_file_path=args.out)]
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        check_start(runner, 'all', args.trust_checkpoint)
        check_image_size(runner)
        runner.test()


@contextmanager
def one_clear_error():
    """Print the user's own mistakes as one line, and exit with code 2; leave a traceback to what is ours."""
    try:
        yield
    except (UserError, NonFiniteLossError) as error:
        # From a data loader's worker, the message is a traceback that ends with the message.
        message = str(error).split(f'{type(error).__name__}: ')[-1].strip()
        shared = getattr(error, 'everywhere', False)
        rank = f'rank {os.environ["RANK"]}: ' if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not shared else ''
        if not shared or dist.is_main_process():
            print(f'error: {rank}{message}', file=sys.stderr, flush=True)
        if shared:
            # The first process to end has the launcher end the others: not before the message is out.
            dist.barrier()
        sys.exit(2 if isinstance(error, UserError) else 1)
    except (OSError, RuntimeError) as error:
        known = known_failure(error)
        if not known:
            raise
        print(f'error: {known}', file=sys.stderr, flush=True)
        # Not sys.exit: taking the process group down would wait for the lost process again.
        os._exit(1)


def _as_list(value):
    return value if isinstance(value, (list, tuple)) else [value]
