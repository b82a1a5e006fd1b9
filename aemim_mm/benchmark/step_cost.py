"""Costs of a training step of a config, counted without computing it, and what each adapter adds to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import torch
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS
from torch._subclasses.fake_tensor import FakeTensorMode

from ..adapters import listed_kinds
from ..errors import UserError
from ..models import AdversarialMIM, layers
from .counting import Cost, Flops, cost_of


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Inside, tensors have shapes and types, but no values, and models compute as on a GPU: the counts are the same."""
    MMLogger.get_current_instance().setLevel('ERROR')  # mmengine logs the settings of each parameter.
    with FakeTensorMode(), Flops(), mock.patch.object(layers, 'ATTENTION_ON_CPU', torch.bfloat16):
        yield


def step_cost(model: Any, count: int, size: int) -> tuple[Cost, Flops]:
    """Count the costs of a step on a number of images, and those of its attack.

    Args:
        model: A MIM algorithm that draws its masks itself.
        count: Number of images.
        size: Their side in pixels.
    """
    images = torch.rand(count, getattr(model.head, 'in_channels', 3), size, size) * 255
    data = model.data_preprocessor(dict(inputs=images, data_samples=None))
    model.zero_grad()
    attack = Flops()
    if hasattr(model, 'attack'):
        model.attack = _counted(type(model).attack.__get__(model), attack)
    return cost_of(lambda: model.parse_losses(model.loss(**data))[0], model.parameters()), attack


def _counted(function, flops):
    """Return ``function``, whose operations ``flops`` counts, too."""

    def run(*args, **kwargs):
        with flops:
            return function(*args, **kwargs)

    return run


def adapter_costs(cfg: Any, size: int) -> dict[str, dict]:
    """Count what each adapter of a config adds to the network and to a step.

    Args:
        cfg: The config of a pre-training with AEMIM.
        size: Side of the images in pixels.

    Returns:
        Rows of ``table.ADAPTER_COLUMNS`` by name, for each adapter alone and for all together. The cost is that of the
        products in a step on the config's batch, divided by its images.

    Raises:
        UserError: The config is of another method.
    """
    of_backbone, of_model = cfg.model.backbone.get('adapters'), cfg.model.get('adapters')
    encoder = next((chosen for chosen in (of_backbone, of_model) if chosen is not None), ('norm', 'cls_token'))
    chosen = [('encoder', kind) for kind in listed_kinds(encoder)]
    chosen += [('decoder', kind) for kind in listed_kinds(cfg.model.get('decoder_adapters', ()))]
    batch = (cfg.get('train_dataloader') or {}).get('batch_size', 1)
    with nothing_computed():
        parameters, flops = _with_adapters(cfg, [], batch, size)
        rows = {}
        for name, kinds in [*((f'{part}, {_title(kind)}', [(part, kind)]) for part, kind in chosen), ('all', chosen)]:
            more, cost = _with_adapters(cfg, kinds, batch, size)
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


def _with_adapters(cfg, kinds, batch: int, size: int) -> tuple[int, float]:
    """Count the parameters of the network with these adapters only, and the operations of a step on a batch."""
    config = cfg.copy().model
    of = {part: [kind for where, kind in kinds if where == part] for part in ('encoder', 'decoder')}
    if not issubclass(cast(type, MODELS.get(config.type)), AdversarialMIM):
        raise UserError(f'{config.type} has no adapters. Choose the config of a pre-training with AEMIM.')
    if config.backbone.type == 'AEMIMViT':
        config.backbone.adapters = ()
    config.adapters, config.decoder_adapters = of['encoder'], of['decoder']
    model = MODELS.build(config).train()
    one, two = (step_cost(model, count, size)[0].flops for count in (1, 2))
    return sum(value.numel() for value in model.parameters()), one + (two - one) * (batch - 1)
