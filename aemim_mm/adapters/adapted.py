"""Adapted layers: stock layers that compute something else in the adversarial domain.

An adapted layer *is* its stock layer. The clean weights keep the stock names, and the names of all weights that the
adversarial domain adds end in ``_adv``. So the clean half of a checkpoint is a stock checkpoint. Source: AEMIM, arXiv
2407.11537 (adapters); the naming rule follows timm's ``split_batchnorm``.
"""

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..domain import Domain, DomainModule, use_domain


class AdaptedLayer(DomainModule):
    """Mixin over a stock layer.

    Attributes:
        split_names: Parameters and buffers with a second value, which the layer sees under the stock name in the ADV
            domain.
        adapter_names: Children that change the layer's forward pass or its attributes, each an ``AddedAdapter``.
        recomputes: Whether the activations are recomputed in the backward pass.
    """

    split_names: tuple[str, ...] = ()
    adapter_names: tuple[str, ...] = ()
    recomputes = False

    def current_adapters(self) -> list[Any]:
        """The added adapters of the current domain."""
        added = [self._modules[name] for name in self.adapter_names]
        return [adapter for adapter in added if adapter.domain is self.domain]

    def forward(self, *args, **kwargs):
        run = super().forward
        for adapter in self.current_adapters():
            run = partial(adapter, run)
        if self.recomputes and torch.is_grad_enabled():
            # The backward pass comes when the domain has been left.
            return checkpoint(partial(self._run_in, self.domain, run), *args, use_reentrant=False, **kwargs)
        return run(*args, **kwargs)

    def _run_in(self, domain, run, *args, **kwargs):
        with use_domain(self, domain):
            return run(*args, **kwargs)

    @torch.no_grad()
    def copy_clean(self, name: str) -> None:
        """Copy the clean value of a split parameter or buffer to the adversarial one."""
        with use_domain(self, Domain.CLEAN):
            getattr(self, f'{name}_adv').copy_(getattr(self, name))

    def __reduce_ex__(self, protocol):
        # The class of an adapted layer is made at run time, so pickle cannot find it by name: pickle its parts.
        _, (cls, *args), *state = super().__reduce_ex__(protocol)
        return _empty_layer, (cls.__bases__[1], cls.attributes, *args), *state

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, *args):
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, *args)
        # A stock checkpoint has no adversarial half: both domains start from the clean one.
        for name in self.split_names:
            if prefix + name in state_dict and f'{prefix}{name}_adv' in missing:
                self.copy_clean(name)
                missing.remove(f'{prefix}{name}_adv')


class _DomainAttribute:
    """An attribute of an adapted layer whose value depends on the domain. Parameters stay where they are registered."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, layer, _owner=None):
        if layer is None:
            return self
        if layer.domain is Domain.ADV and self.name in layer.split_names:
            value = getattr(layer, f'{self.name}_adv')
        else:
            own = vars(layer)
            value = own[self.name] if self.name in own else nn.Module.__getattr__(layer, self.name)
        for adapter in layer.current_adapters():
            if self.name in adapter.attributes:
                value = adapter.changed(self.name, value)
        return value

    # FSDP puts plain tensors into the place of parameters.
    def __set__(self, layer, value):
        vars(layer)[self.name] = value

    def __delete__(self, layer):
        del vars(layer)[self.name]


# Kinds of stock layer that need another mixin.
MIXINS: dict[type, type[AdaptedLayer]] = {}


@cache
def _adapted_class(stock: type, attributes: tuple[str, ...]) -> type:
    mixin = next((mixin for kind, mixin in MIXINS.items() if issubclass(stock, kind)), AdaptedLayer)
    own = {name: _DomainAttribute(name) for name in attributes}
    own.update(__module__=__name__, attributes=attributes)
    return type(f'Adapted{stock.__name__}', (mixin, stock), own)


def _empty_layer(stock: type, attributes: tuple[str, ...], *args):
    cls = _adapted_class(stock, attributes)
    return cls.__new__(cls, *args)


def adapt_layer(layer: nn.Module, attributes: Iterable[str] = ()) -> Any:
    """Make ``layer`` an :class:`AdaptedLayer` in place, and let the named attributes depend on the domain."""
    stock, before = type(layer), ()
    if isinstance(layer, AdaptedLayer):
        stock, before = stock.__bases__[1], stock.attributes
    layer.__class__ = _adapted_class(stock, tuple(dict.fromkeys((*before, *attributes))))
    return layer


def adapted_layers(module: nn.Module) -> dict[str, AdaptedLayer]:
    """Return the layers of ``module`` that depend on the domain, by their paths."""
    layers = {path: layer for path, layer in module.named_modules() if isinstance(layer, AdaptedLayer)}
    return {path: layer for path, layer in layers.items() if layer.split_names or layer.adapter_names}
