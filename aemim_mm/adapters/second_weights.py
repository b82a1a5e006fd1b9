"""Adapters that are a second set of a layer's own weights, as the paper's are: norms and the class token."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

from .adapted import adapt_layer

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
POSITIONS = ('pos_embed', 'absolute_pos_embed', 'decoder_pos_embed', 'relative_position_bias_table')

Split = Iterator[tuple[nn.Module, list[str]]]


def _norms(module: nn.Module) -> Split:
    for layer in module.modules():
        if isinstance(layer, NORMS):
            own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
            yield layer, [name for name, _ in own if not name.endswith('_adv')]


def _parameters(*names: str) -> Callable[[nn.Module], Split]:
    def select(module: nn.Module) -> Split:
        for layer in module.modules():
            own = [name for name in names if name in layer._parameters]
            if own:
                yield layer, own

    return select


def _patch_embeddings(module: nn.Module) -> Split:
    for layer in module.modules():
        embedding = getattr(layer, 'patch_embed', None)
        for part in embedding.modules() if isinstance(embedding, nn.Module) else ():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                yield part, [name for name, _ in part.named_parameters(recurse=False) if not name.endswith('_adv')]


SECOND_WEIGHTS = {
    'norm': _norms,
    'cls_token': _parameters('cls_token'),
    'pos_embed': _parameters(*POSITIONS),
    'patch_embed': _patch_embeddings,
}


def split_layer(layer: nn.Module, names: Iterable[str], trainable: bool = False) -> None:
    """Give ``layer`` a second set of the named parameters and buffers, in place; a name is split once only.

    Args:
        layer: Any layer.
        names: Its own parameters and buffers.
        trainable: Train the second parameters, even if the first are frozen. Default: as the first.
    """
    names = tuple(name for name in names if name not in getattr(layer, 'split_names', ()))
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, nn.Parameter):
            copy = nn.Parameter(value.detach().clone(), requires_grad=trainable or value.requires_grad)
            layer.register_parameter(f'{name}_adv', copy)
        else:
            layer.register_buffer(f'{name}_adv', value.clone())
    adapted = adapt_layer(layer)
    adapted.split_names = adapted.split_names + names


def is_pretrained(module: nn.Module) -> bool:
    """Whether ``init_weights`` of ``module`` loads a checkpoint."""
    init_cfg = getattr(module, 'init_cfg', None)
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'


def sync_adapters(module: Any) -> None:
    """Copy the clean weights of every split layer to the adversarial weights, so that ADV equals CLEAN.

    Modules that a checkpoint initialised keep their weights. The checkpoint may hold both sets; if it does not, loading
    has copied the clean one. Added adapters start without an effect.
    """
    if is_pretrained(module):
        return
    for name in getattr(module, 'split_names', ()):
        module.copy_clean(name)
    for child in module.children():
        sync_adapters(child)
