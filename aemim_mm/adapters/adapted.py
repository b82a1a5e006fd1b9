"""Adapted layers: stock layers that compute something else in the adversarial domain.

An adapted layer *is* its stock layer. The clean weights keep the stock names, and the names of all weights that the
adversarial domain adds end in ``_adv``. So the clean half of a checkpoint is a stock checkpoint. Source: AEMIM, arXiv
2407.11537 (adapters); the naming rule follows timm's ``split_batchnorm``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
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
        read_names: Adapted children whose weights the layer reads, without calling them.
        recomputes: Whether the activations are recomputed in the backward pass.
    """

    split_names: tuple[str, ...] = ()
    adapter_names: tuple[str, ...] = ()
    read_names: tuple[str, ...] = ()
    recomputes = False

    def forward(self, *args, **kwargs):
        if self.adapter_names or self.read_names or self.recomputes:
            run = partial(self._run, self.domain, super().forward)
            # The backward pass comes when the domain has been left.
            recomputed = partial(checkpoint, run, use_reentrant=False)
            return (recomputed if self.recomputes and torch.is_grad_enabled() else run)(*args, **kwargs)
        if self.domain is Domain.CLEAN:
            return super().forward(*args, **kwargs)
        with self._adv_weights():
            return super().forward(*args, **kwargs)

    def _run(self, domain, run, *args, **kwargs):
        with ExitStack() as stack:
            stack.enter_context(use_domain(self, domain))
            for layer in (self, *(self._modules[name] for name in self.read_names)):
                stack.enter_context(seen_in_domain(layer))
            for adapter in self._current_adapters():
                run = partial(adapter, run)
            return run(*args, **kwargs)

    def _current_adapters(self) -> list:
        added: list[Any] = [self._modules[name] for name in self.adapter_names]
        return [adapter for adapter in added if adapter.domain is self.domain]

    @contextmanager
    def _adv_weights(self) -> Iterator[None]:
        # Python looks in __dict__ before nn.Module looks among its parameters and buffers. Those stay in place: DDP,
        # FSDP and state_dict see the module unchanged, also after an exception in forward.
        seen = {name: getattr(self, f'{name}_adv') for name in self.split_names}
        self.__dict__.update(seen)
        try:
            yield
        finally:
            for name in seen:
                del self.__dict__[name]

    @contextmanager
    def seen_in_domain(self) -> Iterator[None]:
        """Inside, the layer's attributes are those of the current domain."""
        with self._adv_weights() if self.domain is Domain.ADV else nullcontext():
            own = vars(self)
            changes = [(adapter, name) for adapter in self._current_adapters() for name in adapter.attributes]
            before = {name: own[name] for _, name in changes if name in own}
            try:
                for adapter, name in changes:
                    own[name] = adapter.changed(name, getattr(self, name))
                yield
            finally:
                for _, name in changes:
                    own.pop(name, None)
                own.update(before)

    @torch.no_grad()
    def copy_clean(self, name: str) -> None:
        """Copy the clean value of a split parameter or buffer to the adversarial one."""
        getattr(self, f'{name}_adv').copy_(getattr(self, name))

    def __reduce_ex__(self, protocol):
        # The class of an adapted layer is made at run time, so pickle cannot find it by name: pickle its stock class.
        _, (cls, *args), *state = super().__reduce_ex__(protocol)
        return _empty_layer, (cls.__bases__[1], *args), *state

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, *args):
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, *args)
        # A stock checkpoint has no adversarial half: both domains start from the clean one.
        for name in self.split_names:
            if prefix + name in state_dict and f'{prefix}{name}_adv' in missing:
                self.copy_clean(name)
                missing.remove(f'{prefix}{name}_adv')


def seen_in_domain(layer: Any) -> AbstractContextManager:
    """Inside, the attributes of a layer are those of its domain, for code that reads them instead of calling it."""
    return layer.seen_in_domain() if isinstance(layer, AdaptedLayer) else nullcontext()


# Kinds of stock layer that need another mixin.
MIXINS: dict[type, type[AdaptedLayer]] = {}


@cache
def _adapted_class(stock: type) -> type:
    mixin = next((mixin for kind, mixin in MIXINS.items() if issubclass(stock, kind)), AdaptedLayer)
    return type(f'Adapted{stock.__name__}', (mixin, stock), {'__module__': __name__})


def _empty_layer(stock: type, *args):
    cls = _adapted_class(stock)
    return cls.__new__(cls, *args)


def adapt_layer(layer: nn.Module) -> Any:
    """Make ``layer`` an :class:`AdaptedLayer` in place."""
    if not isinstance(layer, AdaptedLayer):
        layer.__class__ = _adapted_class(type(layer))
    return layer


def adapted_layers(module: nn.Module) -> dict[str, AdaptedLayer]:
    """Return the layers of ``module`` that depend on the domain, by their paths."""
    layers = {path: layer for path, layer in module.named_modules() if isinstance(layer, AdaptedLayer)}
    return {path: layer for path, layer in layers.items() if layer.split_names or layer.adapter_names}
