"""What takes part in a benchmark: a config of mmpretrain or this project, or MAE of another library."""

from dataclasses import dataclass
from itertools import chain, repeat
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
from .laps import Laps, watch

# Steps do not go anywhere: without a warm-up of the learning rate, a real one would diverge.
LEARNING_RATE = 1e-6


@dataclass
class Contender:
    """A model with all that its training step needs."""

    name: str
    model: BaseModel
    optim_wrapper: OptimWrapper
    batches: object
    laps: Laps

    def step(self) -> dict:
        """One training step of mmengine; gives what it would log."""
        self.laps.start()
        batch = next(self.batches)
        return self.model.train_step(batch, self.optim_wrapper)


def from_config(name, config, options, **settings) -> Contender:
    """A contender from a config file.

    Args:
        name: For the table.
        config: Path of the config.
        options: As of ``--cfg-options``.
        **settings: ``data_root``, in place of the data sets' own, or None; ``stand_in``, a folder in the place of
            ImageNet where that is not there; ``batch_size``; ``precision``: ``float32``, ``bfloat16``, or ``config``
            for what the config says; ``device``, of torch.

    Raises:
        UserError: There is no such config, it has no training, or an option is none.
    """
    cfg = _read(config, options, **settings)
    return _assemble(name, lambda: MODELS.build(cfg.model), cfg, settings['device'])


def from_peer(name, config, **settings) -> Contender:
    """MAE of another library (see :mod:`.peers`), on the data and with the optimizer of a config.

    Raises:
        UserError: The library is not installed, or unknown.
    """
    cfg = _read(config, [], **settings)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    return _assemble(name, lambda: peers.build(name, preprocessor), cfg, settings['device'])


def _read(config, options, *, data_root, stand_in, batch_size, precision, device):
    cfg = load_config(config, options=options, data_root=data_root)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    if dataset.get('type') == 'ImageNet' and not Path(dataset.get('data_root', '')).is_dir():
        cfg = load_config(config, options=options, data_root=data_root or stand_in)
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(f'{config} has nothing to benchmark: it has no train_dataloader or no optim_wrapper.')
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    loader = cfg.train_dataloader
    loader.batch_size = batch_size
    if device.type == 'cpu':  # The cores are busy with the step.
        loader.num_workers, loader.persistent_workers = 0, False
    cfg.optim_wrapper.optimizer.lr = LEARNING_RATE
    if precision != 'config':
        types = dict(float32='OptimWrapper', bfloat16='Bfloat16OptimWrapper')
        cfg.optim_wrapper.type = types[precision]
        for name in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(name, None)
    return cfg


def _assemble(name, build, cfg, device) -> Contender:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = build()
        model.init_weights()
        model = model.to(device)
        model.train()  # mmpretrain's backbones return nothing here.
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    if not len(loader):
        raise UserError(
            f'The training data, {len(loader.dataset)} images, do not fill a batch of {loader.batch_size}. Lower '
            '--batch-size, or choose other data with --data-root.'
        )
    contender = Contender(
        name=name,
        model=model,
        optim_wrapper=optim_wrapper,
        batches=chain.from_iterable(repeat(loader)),
        laps=Laps(device),
    )
    watch(contender.laps, contender.model, contender.optim_wrapper)
    return contender
