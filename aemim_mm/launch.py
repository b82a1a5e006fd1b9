"""What the command-line tools share: a config with the user's flags, checked before any work, and a runner for it."""

import argparse
import os
import os.path as osp
import sys
from contextlib import contextmanager

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from .checkpoint import check_checkpoint
from .errors import UserError
from .loading import checkpoint_loading
from .models import NonFiniteLossError

LAYOUTS = {
    'ImageNet': '{train,val}/<class>/*.JPEG with 1000 classes',
    'CustomDataset': '<class>/*.jpg',
    'UnlabelledFolder': 'any/depth/*.jpg',
    'FashionMNIST': 'train-images-idx3-ubyte and the three files beside it',
    'CocoDataset': 'annotations/*.json, train2017/*.jpg, val2017/*.jpg',
}
LAYOUTS['DemoFashionMNIST'] = LAYOUTS['FashionMNIST']


def load_config(args) -> Config:
    """The config file with the user's flags on top.

    Args:
        args: With ``config``, ``cfg_options``, ``work_dir``, ``data_root`` and ``launcher``.

    Raises:
        UserError: The file is missing, or an option is none.
    """
    if not osp.isfile(args.config):
        raise UserError(f'There is no config {args.config}. Those of this project are listed in configs/metafile.yml.')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        _merge_options(cfg, args.cfg_options)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    if args.data_root:
        for dataset in datasets(cfg):
            dataset.data_root = osp.expanduser(args.data_root)
    if cfg.get('default_scope') == 'mmpretrain':
        _complete_loaders(cfg)
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


def datasets(cfg: Config, loaders=('train_dataloader', 'val_dataloader', 'test_dataloader')):
    """The dataset configs in these data loaders that have, or may have, a ``data_root``; those inside wrappers too."""
    pending = [cfg[name].get('dataset') for name in loaders if cfg.get(name)]
    while pending:
        dataset = pending.pop()
        inner = dataset.get('datasets') or ([dataset.dataset] if 'dataset' in dataset else [])
        pending.extend(inner)
        if not inner:
            yield dataset


def check_data(cfg: Config, loaders) -> None:
    """Fail early, and in one line, where a data folder is missing.

    Raises:
        UserError: Names the folder, the layout expected in it, and the flag that sets it.
    """
    for dataset in datasets(cfg, loaders):
        root = dataset.get('data_root')
        if not root or '://' in root:
            continue
        kind = str(dataset.get('type')).split('.')[-1]
        expected = f' Expected in the data root: {LAYOUTS[kind]}.' if kind in LAYOUTS else ''
        for folder in _folders(kind, dataset):
            if not osp.isdir(folder):
                raise UserError(
                    f'There is no data folder {osp.abspath(folder)} ({kind}, data_root={root!r}).{expected} '
                    'Put the data there, or say where they are with --data-root DIR.'
                )
        if kind == 'ImageNet' and not _has_list(dataset):
            classes = sum(entry.is_dir() for entry in os.scandir(folder))
            if classes != 1000:
                raise UserError(
                    f'The data folder {osp.abspath(folder)} has {classes} class folders, not 1000 ({kind}, '
                    f'data_root={root!r}).{expected} Put the data there, or say where they are with --data-root DIR. '
                    'For images of another kind, take configs/aemim_vit-b_folder.py.'
                )


def _folders(kind: str, dataset):
    """The folders that a data set reads: its root, then those inside it that it names."""
    root, prefix = osp.expanduser(dataset.data_root), dataset.get('data_prefix')
    if not prefix and kind == 'ImageNet':
        prefix = dataset.get('split')
    prefixes = prefix.values() if isinstance(prefix, dict) else [prefix]
    return [root, *[osp.join(root, name) for name in prefixes if isinstance(name, str) and name]]


def _has_list(dataset) -> bool:
    """Whether this ImageNet goes by a list of its images, or has classes of its own."""
    listed = osp.join(osp.expanduser(dataset.data_root), 'meta', f'{dataset.get("split")}.txt')
    return bool(dataset.get('ann_file') or dataset.get('metainfo') or osp.isfile(listed))


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner of this config; on machines without an accelerator, processes talk over gloo."""
    if cfg.launcher == 'pytorch' and not torch.cuda.is_available():
        torch.distributed.init_process_group('gloo')
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
    if args.resume:
        cfg.resume, cfg.load_from = True, None if args.resume == 'auto' else args.resume
    if args.auto_scale_lr:
        if not cfg.get('auto_scale_lr'):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config.')
        cfg.auto_scale_lr.enable = True
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        check_pretrained(runner, args.trust_checkpoint)
        check_start(runner, 'encoder', args.trust_checkpoint)
        check_batches(runner)
        runner.train()


def test(args) -> None:
    """``tools/test.py``."""
    cfg = load_config(args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    if cfg.get('test_dataloader') is None or cfg.get('test_evaluator') is None:
        raise UserError(f'{args.config} has nothing to test: it has no test_dataloader or no test_evaluator.')
    check_data(cfg, ('test_dataloader',))
    if args.out:
        cfg.test_evaluator = [*_as_list(cfg.test_evaluator), dict(type='DumpResults', out_file_path=args.out)]
    with checkpoint_loading(args.trust_checkpoint):
        runner = build_runner(cfg)
        check_start(runner, 'all', args.trust_checkpoint)
        runner.test()


@contextmanager
def one_clear_error():
    """Print the user's own mistakes as one line, and exit with code 2; leave a traceback to what is ours."""
    try:
        yield
    except (UserError, NonFiniteLossError) as error:
        # From a data loader's worker, the message is a traceback that ends with the message.
        message = str(error).split(f'{type(error).__name__}: ')[-1].strip()
        rank = f'rank {os.environ["RANK"]}: ' if int(os.environ.get('WORLD_SIZE', 1)) > 1 else ''
        print(f'error: {rank}{message}', file=sys.stderr, flush=True)
        sys.exit(2 if isinstance(error, UserError) else 1)


def _as_list(value):
    return value if isinstance(value, (list, tuple)) else [value]
