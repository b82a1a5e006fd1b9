"""Checks of a built Runner before it trains or tests."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..checkpoints.fit import check_checkpoint
from ..datasets.classes import check_labels
from ..datasets.of_config import datasets, kind_of
from ..engine.ranks import bare_model
from ..errors import UserError


def check_training(cfg: Config) -> None:
    """Raise a UserError if a config lacks what a training needs."""
    missing = [name for name in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not cfg.get(name)]
    if missing:
        raise UserError(
            f'The config {cfg.filename} has no {" and no ".join(missing)}, so it cannot train. Inherit a config of a '
            'training with _base_, or add the fields.'
        )
    if (cfg.get('model') or {}).get('head', '') is None:
        raise UserError(f'The config {cfg.filename}: model.head is None, but a training needs it to compute the loss.')
    for dataset in datasets(cfg, ('train_dataloader', 'val_dataloader')):
        if not dataset.get('pipeline', True):
            raise UserError(
                f'The config {cfg.filename}: the pipeline of {kind_of(dataset)} is empty. Expected steps that load, '
                'change and pack an image.'
            )


def check_start(runner: Runner, need: str, trusted: bool = False) -> None:
    """Check that the checkpoint to start from, or to resume, fits the model.

    Args:
        runner: Before it trains or tests.
        need: What the checkpoint must have, as in ``check_checkpoint``. A training to resume needs ``same``.
        trusted: Let the checkpoint run code when it is loaded.

    Raises:
        UserError: It does not fit.
    """
    path = runner._load_from
    if path:
        report = check_checkpoint(bare_model(runner.model), path, 'same' if runner._resume else need, trusted=trusted)
        print_log(f'{path} is loaded: {report}', logger='current')


def check_pretrained(runner: Runner, trusted: bool = False) -> None:
    """Check the checkpoint of each ``init_cfg`` of type Pretrained.

    Raises:
        UserError: It does not fit its module, or the ``init_cfg`` names none.
    """
    for name, module in bare_model(runner.model).named_modules():
        init_cfg = getattr(module, 'init_cfg', None) or []
        for init in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
            if init.get('type') != 'Pretrained':
                continue
            if not init.get('checkpoint'):
                field = '.'.join(['model', *([name] if name else []), 'init_cfg'])
                raise UserError(
                    f'{field} has no checkpoint to start from. Name one with --cfg-options {field}.checkpoint=FILE, '
                    f'or train from scratch with --cfg-options {field}=None.'
                )
            prefix = init.get('prefix') or ''
            prefix += '.' if prefix and not prefix.endswith('.') else ''
            report = check_checkpoint(module, init['checkpoint'], 'most', prefix, trusted=trusted)
            print_log(f'{name or "model"} is loaded from {init["checkpoint"]}: {report}', logger='current')


def check_image_size(runner: Runner) -> None:
    """Let each patch embedding raise a UserError for an image smaller than a patch.

    OpenMMLab's models would pad such an image silently.
    """
    for module in bare_model(runner.model).modules():
        # By name: mmpretrain and mmdet each have a class PatchEmbed. HiViT's, a third one, does not pad.
        if type(module).__name__ == 'PatchEmbed' and hasattr(module, 'projection'):
            module.register_forward_pre_hook(_refuse_small)


def _refuse_small(module, args) -> None:
    (height, width), (rows, columns) = args[0].shape[-2:], module.projection.kernel_size
    if height < rows or width < columns:
        raise UserError(
            f'An image of {height}x{width} pixels is smaller than a patch of {rows}x{columns}. Change the crop or '
            'resize of the pipeline, or patch_size.'
        )


def check_batches(runner: Runner) -> None:
    """Raise a UserError if the training data do not fill a single batch."""
    loader: Any = runner.train_dataloader
    if len(loader) == 0:
        raise UserError(
            f'The training data, {len(loader.dataset)} images, do not fill one batch of {loader.batch_size} on each '
            'rank. Lower the batch size with --cfg-options train_dataloader.batch_size=N, or add images.'
        )


def check_data_labels(runner: Runner, loops: Sequence[str]) -> None:
    """Raise a UserError for a label that a classifier has no output for.

    Args:
        runner: Before it runs.
        loops: Names of loops that will run: ``train``, ``val``, ``test``.
    """
    for name in loops:
        loop: Any = getattr(runner, f'{name}_loop')
        if loop is not None:
            check_labels(loop.dataloader.dataset, bare_model(runner.model))
