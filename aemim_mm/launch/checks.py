"""Checks of a built Runner before it trains or tests."""

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint

from ..checkpoints.fit import check_checkpoint
from ..errors import UserError


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
