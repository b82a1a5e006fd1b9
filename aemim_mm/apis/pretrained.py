"""Build the pre-training model of a config with the weights of a checkpoint."""

import os
from os import PathLike
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS

from ..checkpoints.fit import check_checkpoint
from ..checkpoints.reading import checkpoint_loading
from ..errors import UserError
from ..models.algorithms import AdversarialMIM


def build_model(
    config: str | PathLike | Config, checkpoint: str | PathLike | None = None, trusted: bool = False
) -> Any:
    """Build the model of a config, in eval mode.

    Args:
        config: The config, or its file.
        checkpoint: The weights. Default: initial weights with seed 0.
        trusted: As in ``read_checkpoint``.

    Raises:
        UserError: The checkpoint does not fit the model.
    """
    cfg = config if isinstance(config, Config) else Config.fromfile(os.fspath(config))
    init_default_scope('mmpretrain')
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    with checkpoint_loading(trusted):  # A target network may have weights of its own.
        model.init_weights()
    if checkpoint is not None:
        load_weights(model, checkpoint, trusted)
    return model.eval()


def build_adversarial_model(
    config: str | PathLike | Config, checkpoint: str | PathLike | None = None, trusted: bool = False
) -> AdversarialMIM:
    """Build the model of a pre-training by AEMIM, as :func:`build_model` does.

    Raises:
        UserError: The config trains another method, or the checkpoint does not fit the model.
    """
    model = build_model(config, checkpoint, trusted)
    if not isinstance(model, AdversarialMIM):
        name = config.filename if isinstance(config, Config) else config
        raise UserError(f'{name} trains a {type(model).__name__}, which has no attack. Name a config of AEMIM.')
    return model


def load_weights(model: Any, checkpoint: str | PathLike, trusted: bool = False) -> None:
    """Load a checkpoint into a pre-training model.

    Args:
        model: The model.
        checkpoint, trusted: As in :func:`build_model`.

    Raises:
        UserError: The checkpoint does not fit the model.
    """
    with checkpoint_loading(trusted):
        check_checkpoint(model, str(checkpoint), 'all', trusted=trusted)
        load_checkpoint(model, str(checkpoint), map_location='cpu', logger='silent')
