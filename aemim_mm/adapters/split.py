"""Adapters: stock layers with a second set of weights for the adversarial domain.

A split layer *is* its stock layer. The clean weights keep the stock names, and the names of the adversarial weights end
in ``_adv``. So the clean half of a checkpoint is a stock checkpoint. Source: AEMIM, arXiv 2407.11537 (adapters); the
naming rule follows timm's ``split_batchnorm``.
"""

from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

from ..domain import Domain, DomainModule
from ..errors import UserError, unknown_name

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class SplitLayer(DomainModule):
    """Mixin over a stock layer. In the ADV domain, ``forward`` sees the ``_adv`` weights under the stock names."""

    split_names: tuple[str, ...] = ()

    def forward(self, *args, **kwargs):
        if self.domain is Domain.CLEAN:
            return super().forward(*args, **kwargs)
        with self._adv_weights():
            return super().forward(*args, **kwargs)

    @contextmanager
    def _adv_weights(self):
        # Python looks in __dict__ before nn.Module looks among its parameters and buffers. Those stay in place: DDP and
        # state_dict see the module unchanged, also after an exception in forward.
        shadow = {name: getattr(self, f'{name}_adv') for name in self.split_names}
        self.__dict__.update(shadow)
        try:
            yield
        finally:
            for name in shadow:
                del self.__dict__[name]

    def __reduce_ex__(self, protocol):
        # The class of a split layer is made at run time, so pickle cannot find it by name: pickle its stock class.
        _, (cls, *args), *state = super().__reduce_ex__(protocol)
        return _empty_split_layer, (cls.__bases__[1], *args), *state

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # A stock checkpoint has no adversarial half: both domains start from the clean one.
        for name in self.split_names:
            if prefix + name in state_dict:
                state_dict.setdefault(f'{prefix}{name}_adv', state_dict[prefix + name])
        super()._load_from_state_dict(state_dict, prefix, *args)


# Kinds of stock layer that need another mixin.
MIXINS: dict[type, type[SplitLayer]] = {}


@cache
def _split_class(stock: type) -> type:
    mixin = next((mixin for kind, mixin in MIXINS.items() if issubclass(stock, kind)), SplitLayer)
    return type(f'Split{stock.__name__}', (mixin, stock), {'__module__': __name__})


def _empty_split_layer(stock: type, *args):
    cls = _split_class(stock)
    return cls.__new__(cls, *args)


def split_layer(layer: nn.Module, names: tuple[str, ...]) -> None:
    """Give ``layer`` a second set of the named parameters and buffers, in place; a name is split once only."""
    if isinstance(layer, SplitLayer):
        names = tuple(name for name in names if name not in layer.split_names)
    else:
        layer.__class__ = _split_class(type(layer))
    assert isinstance(layer, SplitLayer)
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, nn.Parameter):
            copy = nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
            layer.register_parameter(f'{name}_adv', copy)
        else:
            layer.register_buffer(f'{name}_adv', value.clone())
    layer.split_names = layer.split_names + names


def _split_norms(module: nn.Module) -> int:
    norms = [layer for layer in module.modules() if isinstance(layer, NORMS)]
    for layer in norms:
        own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
        split_layer(layer, tuple(name for name, _ in own if not name.endswith('_adv')))
    return len(norms)


def _split_cls_tokens(module: nn.Module) -> int:
    owners = [layer for layer in module.modules() if isinstance(getattr(layer, 'cls_token', None), nn.Parameter)]
    for layer in owners:
        split_layer(layer, ('cls_token',))
    return len(owners)


ADAPTERS = {'norm': _split_norms, 'cls_token': _split_cls_tokens}


def split_adapters(module: nn.Module, adapters: str | tuple | list = ('norm', 'cls_token')) -> nn.Module:
    """Convert ``module`` in place: each adapter gets a second set of weights, equal to the first.

    Args:
        module: Any model. Layers that are split already stay as they are, so a second call changes nothing.
        adapters: Kinds of adapter. ``norm`` splits weights and statistics of all normalisation layers. ``cls_token``
            splits class tokens; a model without one (Swin) has nothing to split there.

    Returns:
        The same module.

    Raises:
        UserError: An unknown kind, a model in which nothing can be split, or activation checkpointing.

    Source: AEMIM, arXiv 2407.11537: normalisation layers and class token are the paper's adapters.
    """
    adapters = (adapters,) if isinstance(adapters, str) else tuple(adapters)
    for kind in adapters:
        if kind not in ADAPTERS:
            raise unknown_name('adapter', kind, ADAPTERS)
    for flag in ('with_cp', 'use_checkpoint'):
        if any(getattr(layer, flag, False) is True for layer in module.modules()):
            raise UserError(
                f'{flag}=True recomputes activations in the backward pass, outside the domain in which they were '
                f'computed: the adversarial gradients would be wrong. Set {flag}=False.'
            )
    if sum(ADAPTERS[kind](module) for kind in adapters) == 0:
        raise UserError(f'Nothing to split in {type(module).__name__} with adapters={adapters}.')
    return module


def is_pretrained(module: nn.Module) -> bool:
    """Whether ``init_weights`` of ``module`` loads a checkpoint."""
    init_cfg = getattr(module, 'init_cfg', None)
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'


@torch.no_grad()
def sync_adapters(module: nn.Module) -> None:
    """Copy the clean weights of every split layer to the adversarial weights, so that ADV equals CLEAN.

    Modules that a checkpoint initialised keep their weights. The checkpoint may hold both sets; if it does not, loading
    has copied the clean one.
    """
    if is_pretrained(module):
        return
    if isinstance(module, SplitLayer):
        for name in module.split_names:
            getattr(module, f'{name}_adv').copy_(getattr(module, name))
    for child in module.children():
        sync_adapters(child)
