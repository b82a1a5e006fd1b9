"""Where adapters are: transformer layers of a model, and the parts of a layer."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ..errors import UserError, first_of

# A transformer layer has one of these children.
PARTS = {'attn', 'cross_attn', 'ffn', 'mlp'}
# Parts of a layer, by the names that mmpretrain's encoders give them.
TARGETS = {
    'attn': ('attn', 'w_msa'),
    'qkv': ('qkv',),
    'proj': ('attn.proj', 'w_msa.proj'),
    'mlp': ('ffn', 'mlp'),
    'fc1': ('ffn.layers.0.0', 'mlp.fc1'),
    'fc2': ('ffn.layers.1', 'mlp.fc2'),
}


def transformer_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return the transformer layers of a model by their paths, in order."""
    return {path: layer for path, layer in module.named_modules() if PARTS & layer._modules.keys()}


def chosen_layers(module: nn.Module, layers: Any) -> list[nn.Module]:
    """Return the chosen transformer layers of a model; the model itself, for None.

    Args:
        module: Any model.
        layers: Numbers from 0, ``dict(first=n)``, ``dict(last=n)`` or ``dict(every=n)`` (each n-th), with n >= 1.

    Raises:
        UserError: Another form, or more layers than there are.
    """
    if layers is None:
        return [module]
    found = list(transformer_layers(module).values())
    numbers = _numbers(layers, len(found))
    if not numbers or not all(_is_whole(number) and 0 <= number < len(found) for number in numbers):
        raise UserError(
            f'layers of an adapter are numbers from 0 to {len(found) - 1}, dict(first=n), dict(last=n) or '
            f'dict(every=n), with n from 1 to {len(found)}, but got {layers!r}.'
            if found
            else f'layers chooses transformer layers, but {type(module).__name__} has none. Leave layers out.'
        )
    return [found[number] for number in numbers]


def _numbers(layers: Any, count: int) -> Sequence:
    if not isinstance(layers, dict):
        return layers if isinstance(layers, (list, tuple)) else ()
    rule, n = next(iter(layers.items())) if len(layers) == 1 else ('', 0)
    if not _is_whole(n) or not 1 <= n <= count:
        return ()
    return dict(first=range(n), last=range(count - n, count), every=range(n - 1, count, n)).get(rule, ())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def targets_in(module: nn.Module, parts: Iterable[nn.Module], targets: Any) -> dict[str, nn.Module]:
    """Return the layers to adapt by their paths in ``module``.

    Args:
        module: A model.
        parts: Parts of it to look in.
        targets: Names in ``TARGETS``, or ends of paths, such as ``'attn.qkv'``.

    Raises:
        UserError: A name that fits no layer.
    """
    targets = targets if isinstance(targets, (list, tuple)) else (targets,)
    if not targets or not all(isinstance(target, str) for target in targets):
        raise UserError(f'targets of an adapter are names of parts of a layer, but got {targets!r}.')
    paths = {layer: path for path, layer in module.named_modules()}
    inside = {paths[layer]: layer for part in parts for layer in part.modules()}
    found = {}
    for target in targets:
        ends = tuple(f'.{end}' for end in TARGETS.get(target, (target,)))
        fitting = {path: layer for path, layer in inside.items() if f'.{path}'.endswith(ends)}
        if not fitting:
            linear = [path for path, layer in inside.items() if isinstance(layer, nn.Linear)]
            raise UserError(
                f'The target {target!r} of an adapter fits no layer of {type(module).__name__}. Known: '
                f'{", ".join(sorted(TARGETS))}, and ends of paths, such as {first_of(linear)}.'
            )
        found.update(fitting)
    return found
