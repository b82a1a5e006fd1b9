"""The candidates of a benchmark: configs of mmpretrain or of this project, and MAE of other libraries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from os import PathLike
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from ..errors import UserError
from ..launch.config import load_config
from . import peers
from .stages import StageClock

# The configs warm their learning rate up; a benchmark makes too few steps for that, and would diverge at the full rate.
LEARNING_RATE = 1e-6
# Precision to the optimizer wrapper that trains in it.
WRAPPERS = dict(float32='OptimWrapper', bfloat16='Bfloat16OptimWrapper')


@dataclass
class Candidate:
    """A model with everything that its training step needs.

    Attributes:
        name: The candidate's row in the tables.
        model: A model of mmengine, in training mode.
        optim_wrapper: The optimizer of the model.
        batches: An endless iterator over batches of training data.
        clock: Holds the time of each stage of the last step.
    """

    name: str
    model: BaseModel
    optim_wrapper: OptimWrapper
    batches: Iterator[dict]
    clock: StageClock

    def step(self) -> dict:
        """Make one training step of mmengine, and return the values that mmengine would log."""
        with self.clock.step(self.model):
            return self.model.train_step(next(self.batches), self.optim_wrapper)


def from_config(name: str, config: str | PathLike, options: Sequence[str], **settings) -> Candidate:
    """Build a candidate from a config file.

    Args:
        name: The candidate's row in the tables.
        config: Path of the config.
        options: ``KEY=VALUE`` strings that change the config, as for ``--cfg-options``.
        **settings: ``data_root``, a folder that replaces the data set's own, or None; ``stand_in``, a folder that
            replaces ImageNet where ImageNet is missing; ``batch_size``, images in a step; ``precision``, which is
            ``float32``, ``bfloat16`` or ``config`` (keep the config's); ``device``, a ``torch.device``.

    Raises:
        UserError: The config is missing, has no training, or does not take an option.
    """
    cfg = _read(config, options, **settings)
    return _assemble(name, lambda: MODELS.build(cfg.model), cfg, settings['device'])


def from_peer(name: str, config: str | PathLike, options: Sequence[str], **settings) -> Candidate:
    """Build a candidate from MAE of another library, on the data and with the optimizer of a config.

    Args:
        name: A key of ``peers.PEERS``.
        config, options, **settings: As for :func:`from_config`.

    Raises:
        UserError: The library is unknown or not installed.
    """
    cfg = _read(config, options, **settings)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    return _assemble(name, lambda: peers.build(name, preprocessor), cfg, settings['device'])


def _read(config, options, *, data_root, stand_in, batch_size, precision, device):
    if precision != 'config':
        options = (*options, f'optim_wrapper.type={WRAPPERS[precision]}')
    cfg = load_config(config, options=options, data_root=data_root)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    if dataset.get('type') == 'ImageNet' and not Path(dataset.get('data_root', '')).is_dir():
        cfg = load_config(config, options=options, data_root=data_root or stand_in)
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(
            f'{config} has no train_dataloader or no optim_wrapper, so it has no training step to measure. Choose a '
            'config of a training.'
        )
    loader = cfg.train_dataloader
    loader.batch_size = batch_size
    if device.type == 'cpu':  # Worker processes would compete with the step for the cores.
        loader.num_workers, loader.persistent_workers = 0, False
    cfg.optim_wrapper.optimizer.lr = LEARNING_RATE
    return cfg


def _assemble(name, build, cfg, device) -> Candidate:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = build()
        model.init_weights()
        model = model.to(device)
        model.train()
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    if not len(loader):
        images = len(loader.dataset)  # pyright: ignore[reportArgumentType]
        raise UserError(
            f'The training data are {images} images, fewer than the batch of {loader.batch_size}. Lower '
            '--batch-size, or choose other data with --data-root.'
        )
    return Candidate(
        name=name,
        model=model,
        optim_wrapper=optim_wrapper,
        batches=chain.from_iterable(repeat(loader)),
        clock=StageClock(device),
    )
