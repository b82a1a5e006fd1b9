"""Costs of a training step of a config, counted on a CPU, and what each adapter adds to them."""

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest import mock

import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint
from mmpretrain.models.selfsup import milan
from mmpretrain.models.utils.clip_generator_helper import CLIP
from mmpretrain.models.utils.vector_quantizer import EmbeddingEMA
from mmpretrain.registry import MODELS
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from ..adapters import listed_kinds
from ..datasets.of_config import kind_of
from ..errors import UserError
from ..models import AdversarialMIM, layers
from .counting import Cost, Flops, cost_of
from .synthetic import synthetic_imagenet


class _Shapes(FakeTensorMode):
    """torch's mode of tensors without values, but a deep copy of a model, such as a teacher, is of the same mode."""

    def __deepcopy__(self, memo):
        return self


def counted(count: Callable[[bool], Any]) -> Any:
    """Call a function that counts costs of steps, so that the counts are those of a GPU, with trained target networks.

    Nothing is computed if that is possible: tensors have shapes and types, but no values. A step that selects by a mask
    is computed. Target networks whose weights are missing get random ones.

    Args:
        count: Builds a model and counts steps; its argument says whether they are computed.

    Returns:
        What the function returns.
    """
    MMLogger.get_current_instance().setLevel('ERROR')  # mmengine logs the settings of each parameter.
    with (
        warnings.catch_warnings(),
        DefaultScope.overwrite_default_scope('mmpretrain'),
        mock.patch.object(layers, 'ATTENTION_ON_CPU', torch.bfloat16),
        mock.patch.object(milan, '_load_checkpoint', _clip),
        mock.patch.object(EmbeddingEMA, 'init_embed_'),  # The first step would make a codebook by k-means.
    ):
        # torch's own deep copy of a tensor raises this warning.
        warnings.filterwarnings('ignore', 'Accessing the data pointer of FakeTensor')
        try:
            with _Shapes(allow_non_fake_inputs=True), Flops():
                return count(False)
        except DynamicOutputShapeException:
            return count(True)


def _clip(path):
    """Load CLIP from a file; without the file, return random weights of its ViT-B/16."""
    if Path(path).is_file():
        return _load_checkpoint(path)
    return CLIP(512, 224, 12, 768, 16, context_length=77, vocab_size=49408, transformer_width=512, transformer_heads=8,
                transformer_layers=12).state_dict()  # fmt: skip


def batches(cfg: Any, counts: Sequence[int]) -> list[dict]:
    """Return batches of the training data of a config, with these numbers of images.

    Images are synthetic if the folder of the config's data is missing.

    Raises:
        UserError: The config has no training.
    """
    if not cfg.get('train_dataloader'):
        raise UserError(f'{cfg.filename} has no train_dataloader, and so no step. Choose the config of a pre-training.')
    with TemporaryDirectory() as folder:
        loader = deepcopy(cfg.train_dataloader)
        dataset = loader.dataset
        if not Path(dataset.get('data_root') or '.').is_dir():
            dataset.data_root = synthetic_imagenet(Path(folder))
            if kind_of(dataset) == 'UnlabelledFolder':
                dataset.data_prefix = ''
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        found = []
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            for count in counts:
                loader.batch_size = count
                found.append(next(iter(Runner.build_dataloader(loader, seed=0))))
        return found


def step_cost(model: Any, batch: dict) -> tuple[Cost, Flops]:
    """Count the costs of a step on a batch, and those of its attack.

    Args:
        model: A MIM algorithm, in training mode.
        batch: What the data loader of its config gives.
    """
    data = model.data_preprocessor(batch, True)
    model.zero_grad()
    attack = Flops()
    if hasattr(model, 'attack'):
        model.attack = _with_counter(type(model).attack.__get__(model), attack)
    return cost_of(lambda: model.parse_losses(model.loss(**data))[0], model.parameters()), attack


def _with_counter(function, flops):
    """Return ``function``, whose operations ``flops`` counts, too."""

    def run(*args, **kwargs):
        with flops:
            return function(*args, **kwargs)

    return run


def adapter_costs(cfg: Any) -> dict[str, dict]:
    """Count what each adapter of a config adds to the network and to a step.

    Args:
        cfg: The config of a pre-training with AEMIM.

    Returns:
        Rows of ``table.ADAPTER_COLUMNS`` by name, for each adapter alone and for all together. The cost is that of the
        products in a step on the config's batch, divided by its images.

    Raises:
        UserError: The config is of another method.
    """
    if not issubclass(cast(type, MODELS.get(cfg.model.type)), AdversarialMIM):
        raise UserError(f'{cfg.model.type} has no adapters. Choose the config of a pre-training with AEMIM.')
    of_backbone, of_model = cfg.model.backbone.get('adapters'), cfg.model.get('adapters')
    encoder = next((chosen for chosen in (of_backbone, of_model) if chosen is not None), ('norm', 'cls_token'))
    chosen = [('encoder', kind) for kind in listed_kinds(encoder)]
    chosen += [('decoder', kind) for kind in listed_kinds(cfg.model.get('decoder_adapters', ()))]
    batch, data = cfg.train_dataloader.batch_size, batches(cfg, (1, 2))
    parameters, flops = _with_adapters(cfg, [], batch, data)
    rows = {}
    for name, kinds in [*((f'{part}, {_title(kind)}', [(part, kind)]) for part, kind in chosen), ('all', chosen)]:
        more, cost = _with_adapters(cfg, kinds, batch, data)
        rows[name] = dict(
            parameters_k=(more - parameters) / 1e3,
            network_share=(more - parameters) / parameters,
            gflop_per_image=(cost - flops) / batch / 1e9,
            step_share=(cost - flops) / flops,
        )
    return rows


def _title(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    options = ', '.join(f'{name}={value}' for name, value in kind.items() if name != 'type')
    return f'{kind["type"]}({options})' if options else kind['type']


def _with_adapters(cfg, kinds, batch: int, data: Sequence[dict]) -> tuple[int, float]:
    """Count the parameters of the network with these adapters only, and the operations of a step on a batch.

    ``data`` are batches of one and of two images.
    """
    config = cfg.copy().model
    of = {part: [kind for where, kind in kinds if where == part] for part in ('encoder', 'decoder')}
    if config.backbone.type == 'AEMIMViT':
        config.backbone.adapters = ()
    config.adapters, config.decoder_adapters = of['encoder'], of['decoder']

    def count(computed: bool):
        model = MODELS.build(config).train()
        one, two = (step_cost(model, batch)[0].flops for batch in data)
        return sum(value.numel() for value in model.parameters()), one, two

    parameters, one, two = counted(count)
    return parameters, one + (two - one) * (batch - 1)
