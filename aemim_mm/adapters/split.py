"""Adapters of a model: what the adversarial domain has of its own, chosen by a config."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from mmpretrain.models.utils import BEiTAttention
from mmpretrain.models.utils.attention import WindowMSAV2
from torch import nn

from ..domain import Domain
from ..errors import UserError, first_of, unknown_name
from .adapted import adapt_layer
from .added import ADAPTERS
from .placement import chosen_layers, targets_in
from .second_weights import SECOND_WEIGHTS, Split, split_layer

# mmpretrain's layers that read the weights of their query, key and value without calling them.
READERS = (BEiTAttention, WindowMSAV2)
# Flags by which mmpretrain's layers recompute their activations in the backward pass.
RECOMPUTING = ('with_cp', 'use_checkpoint')


def split_adapters(module: nn.Module, adapters: str | dict | Iterable[str | dict] = ('norm', 'cls_token')) -> nn.Module:
    """Give ``module`` adapters in place. In the CLEAN domain, it stays the stock model, and ADV equals it at first.

    Args:
        module: Any model. Layers that are split already stay as they are.
        adapters: Kinds of adapter, each a name, or ``dict(type=NAME, layers=..., ...)``. Second sets of the model's own
            weights: ``norm`` (weights and statistics of normalisation layers), ``cls_token``, ``pos_embed`` (positions,
            also frozen ones, and tables of relative positions), ``patch_embed``. Additions: ``lora``, ``bottleneck``,
            ``parallel_mlp``, ``prompt``, and whatever else is registered in ``ADAPTERS``; ``AddedAdapter`` lists their
            options. ``layers`` chooses transformer layers: a list of numbers from 0, ``dict(first=n)``,
            ``dict(last=n)`` or ``dict(every=n)``. Default: the whole model.

    Returns:
        The same module.

    Raises:
        UserError: An unknown kind or option, or nothing in the model for a kind with options or for all of the others.

    Source: AEMIM, arXiv 2407.11537: normalisation layers and class token are the paper's adapters.
    """
    kinds = listed_kinds(adapters)
    apply = [_read(dict(type=kind) if isinstance(kind, str) else dict(kind)) for kind in kinds]
    _recompute_in_domain(module)
    counts = [one(module) for one in apply]
    empty = [kind for kind, count in zip(kinds, counts) if count == 0 and isinstance(kind, dict)]
    if empty or not sum(counts):
        raise UserError(f'Nothing to adapt in {type(module).__name__} with adapters={empty or kinds}.')
    return module


def listed_kinds(adapters: Any) -> list[str | dict]:
    """Return the chosen kinds of adapter as a list; the argument is that of :func:`split_adapters`.

    Raises:
        UserError: It is neither a name or a dict, nor a list of them.
    """
    kinds = list(adapters) if isinstance(adapters, (list, tuple)) else [adapters]
    for kind in kinds:
        if not isinstance(kind, (str, dict)):
            raise UserError(f'adapters are names and dict(type=NAME, ...), or a list of them, but got {kind!r}.')
    return kinds


def _read(config: dict) -> Callable[[nn.Module], int]:
    """Check the config of a kind of adapter; return a function that adapts a model, and counts its adapted layers."""
    kind, layers = config.pop('type', None), config.pop('layers', None)
    if kind in SECOND_WEIGHTS:
        if config:
            raise unknown_name(f'option of the adapter {kind!r}', first_of(config), ('layers',))
        return lambda module: _split(module, layers, SECOND_WEIGHTS[kind], trainable=kind == 'pos_embed')
    adapter = ADAPTERS.module_dict.get(kind)
    if adapter is None:
        raise unknown_name('adapter', kind, (*SECOND_WEIGHTS, *ADAPTERS.module_dict))
    targets, both = config.pop('targets', adapter.targets), config.pop('both', False)
    known = [name for name in inspect.signature(adapter).parameters if name not in ('layer', 'domain')]
    for name in config:
        if name not in known:
            raise unknown_name(f'option of the adapter {kind!r}', name, ('layers', 'targets', 'both', *known))
    domains = (Domain.ADV, Domain.CLEAN) if both else (Domain.ADV,)
    return lambda module: _add(module, layers, targets, kind, adapter, domains, config)


def _split(module: nn.Module, layers: Any, select: Callable[[nn.Module], Split], trainable: bool) -> int:
    found = [one for part in chosen_layers(module, layers) for one in select(part)]
    for layer, names in found:
        split_layer(layer, names, trainable)
    return len(found)


def _add(module, layers, targets, kind: str, adapter: Any, domains, options: dict) -> int:
    found: dict[str, Any] = targets_in(module, chosen_layers(module, layers), targets)
    for path, layer in found.items():
        for domain in domains:
            name = kind if domain is Domain.ADV else f'{kind}_{domain.value}'
            if isinstance(layer, (nn.Sequential, nn.ModuleList)):
                raise UserError(
                    f'{path} runs its children, so it cannot hold an adapter. Choose a layer in it as target.'
                )
            if name in layer._modules:
                raise UserError(f'{path} has an adapter {kind!r} already. Let only one entry of adapters choose it.')
            added = adapter(layer, domain, **options)
            adapt_layer(layer).add_module(name, added)
            layer.adapter_names = (*layer.adapter_names, name)
        parent, _, own = path.rpartition('.')
        reader = module.get_submodule(parent)
        if isinstance(reader, READERS) and adapter.attributes:
            reader = adapt_layer(reader)
            reader.read_names = tuple(dict.fromkeys((*reader.read_names, own)))
    return len(found)


def _recompute_in_domain(module: nn.Module) -> None:
    """Let layers that recompute their activations do so in the domain of their forward pass."""
    for flag in RECOMPUTING:
        flagged = [layer for layer in module.modules() if getattr(layer, flag, False) is True]
        for layer in flagged:
            # A model, its stages and its layers may all have the flag.
            if not any(part is not layer and part in flagged for part in layer.modules()):
                recompute(getattr(layer, 'blocks', None) or [layer])
        for layer in flagged:
            setattr(layer, flag, False)


def recompute(layers: Iterable[nn.Module]) -> None:
    """Let layers recompute their activations in the backward pass, in place: less memory, and more time.

    Raises:
        UserError: A layer has running statistics, which would be updated twice.
    """
    for layer in layers:
        if any(getattr(part, 'track_running_stats', False) for part in layer.modules()):
            raise UserError(
                f'A {type(layer).__name__} cannot recompute its activations, because its BatchNorm would update its '
                'statistics twice. Set with_cp=False.'
            )
        adapt_layer(layer).recomputes = True
