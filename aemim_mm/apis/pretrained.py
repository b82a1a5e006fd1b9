"""A pre-training model of a config, with the weights of a checkpoint."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS

from ..checkpoints.fit import check_checkpoint
from ..checkpoints.reading import checkpoint_loading


def build_model(config: Path, checkpoint: Path | None = None, trusted=False):
    """The model of a config, with the weights of a checkpoint, or its seeded initial ones.

    ``trusted`` as in :func:`read_checkpoint`.
    """
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    if checkpoint is not None:
        with checkpoint_loading(trusted):
            check_checkpoint(model, str(checkpoint), 'all', trusted=trusted)
            load_checkpoint(model, str(checkpoint), map_location='cpu', logger='silent')
    return model.eval()
