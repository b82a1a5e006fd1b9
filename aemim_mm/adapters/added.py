"""Adapters that add weights to a layer. In the other domain, the layer is as it was."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import Registry
from torch import nn

from ..domain import Domain
from ..errors import UserError

ADAPTERS = Registry('adapter')


class AddedAdapter(nn.Module):
    """Changes what a layer computes in one domain.

    A subclass registers itself in ``ADAPTERS``. It adds parameters in ``__init__(layer, domain, **options)``, and
    overrides :meth:`forward`, or names attributes of the layer and overrides :meth:`changed`. At first, it must have no
    effect: start a factor at zero. Parameters are added by :meth:`add`, not as ``nn.Linear``, which the initialisation
    of a model would initialise again.

    Every kind has three further options: ``layers`` as in ``split_adapters``; ``targets``, the parts of a layer to
    adapt, ``attn``, ``qkv``, ``proj``, ``mlp``, ``fc1``, ``fc2`` or ends of paths; and ``both``, which gives the clean
    domain an adapter of its own too, whose names end in ``_clean``.

    Attributes:
        targets: The default of the option.
        attributes: The layer's attributes that :meth:`changed` changes.

    Args:
        domain: The domain in which the layer is changed.
    """

    targets: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def __init__(self, domain: Domain):
        super().__init__()
        self.domain, self.suffix = domain, f'_{domain.value}'
        self.zeros: tuple[str, ...] = ()

    def forward(self, run: Callable, *args, **kwargs) -> Any:
        """Compute the layer's output; ``run`` computes it as without this adapter."""
        return run(*args, **kwargs)

    def changed(self, name: str, value: Any) -> Any:
        """Return what the layer sees as its attribute ``name``, instead of ``value``."""
        return value

    def add(self, name: str, value: torch.Tensor) -> None:
        """Add a trainable parameter, which :meth:`own` returns."""
        self.register_parameter(name + self.suffix, nn.Parameter(value))
        if not value.any():
            self.zeros += (name,)

    def own(self, name: str) -> torch.Tensor:
        """Return the parameter of this name."""
        return getattr(self, name + self.suffix)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, *args):
        if any(name.startswith(prefix) for name in state_dict):
            return super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, *args)
        # A stock checkpoint: the domain starts as the stock model.
        with torch.no_grad():
            for name in self.zeros:
                self.own(name).zero_()


@ADAPTERS.register_module('lora')
class LoRA(AddedAdapter):
    """A low-rank change of a weight: W + alpha / rank * B A. B starts at zero.

    It can be merged into the weight; see :func:`merged_lora`.

    Args:
        layer: An ``nn.Linear``, or a convolution, whose weight counts as a matrix (out, in * height * width).
        domain: As in ``AddedAdapter``.
        rank: Rank of the change, >= 1.
        alpha: Its scale is alpha / rank, > 0. Default: ``rank``.

    Source: Hu et al., arXiv 2106.09685.
    """

    targets = ('qkv',)
    attributes = ('weight',)

    def __init__(self, layer: Any, domain: Domain, rank: int = 8, alpha: float | None = None):
        super().__init__(domain)
        _check_size('rank', rank)
        alpha = rank if alpha is None else alpha
        _check_size('alpha', alpha, Real)
        if not isinstance(getattr(layer, 'weight', None), nn.Parameter) or layer.weight.dim() < 2:
            raise UserError(f'lora changes weights of linear layers and convolutions, not of a {type(layer).__name__}.')
        rows, columns = layer.weight.flatten(1).shape
        self.add('a', _uniform(rank, columns))
        self.add('b', torch.zeros(rows, rank))
        self.register_buffer('scale' + self.suffix, torch.tensor(alpha / rank))

    def changed(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """Change the weight."""
        return value + change_of_weight(self.own('a'), self.own('b'), self.own('scale')).view_as(value)


def change_of_weight(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Compute LoRA's change of a weight, (rows, columns), from (rank, columns), (rows, rank) and a number."""
    return scale * (b @ a)


def merged_lora(state: dict[str, torch.Tensor], domain: str) -> dict[str, torch.Tensor]:
    """Merge LoRA into the weights of a state dict, which is left as it is.

    Args:
        state: Tensors by name.
        domain: ``clean`` or ``adv``: whose LoRA to merge; that of the other domain stays.
    """
    state, suffix = dict(state), f'_{domain}'
    child = '.lora.' if domain == 'adv' else f'.lora{suffix}.'
    for layer in [name.removesuffix(f'{child}a{suffix}') for name in state if name.endswith(f'{child}a{suffix}')]:
        a, b, scale = (state.pop(f'{layer}{child}{own}{suffix}') for own in ('a', 'b', 'scale'))
        name = f'{layer}.weight{suffix}' if f'{layer}.weight{suffix}' in state else f'{layer}.weight'
        state[name] = state[name] + change_of_weight(a, b, scale).view_as(state[name])
    return state


class _TwoLayers(AddedAdapter):
    """Two small linear layers. The second starts at zero."""

    def __init__(self, domain: Domain, width: int, inputs: int, outputs: int):
        super().__init__(domain)
        _check_size('width', width)
        self.add('down', _uniform(width, inputs))
        self.add('down_bias', torch.zeros(width))
        self.add('up', torch.zeros(outputs, width))
        self.add('up_bias', torch.zeros(outputs))

    def change(self, x: torch.Tensor, activation: Callable) -> torch.Tensor:
        hidden = activation(F.linear(x, self.own('down'), self.own('down_bias')))
        return F.linear(hidden, self.own('up'), self.own('up_bias'))


@ADAPTERS.register_module('bottleneck')
class Bottleneck(_TwoLayers):
    """Two small linear layers with a skip connection, after the attention and after the MLP.

    With ``targets=('fc2',)``, after the MLP only, as Pfeiffer et al. place it (arXiv 2005.00247).

    Args:
        layer: The last linear layer of the attention or of the MLP.
        domain: As in ``AddedAdapter``.
        width: Number of hidden units, >= 1.

    Source: Houlsby et al., arXiv 1902.00751.
    """

    targets = ('proj', 'fc2')

    def __init__(self, layer: Any, domain: Domain, width: int = 64):
        if not isinstance(layer, nn.Linear):
            raise UserError(f'bottleneck follows a linear layer, not a {type(layer).__name__}. Change its targets.')
        super().__init__(domain, width, layer.out_features, layer.out_features)

    def forward(self, run: Callable, *args, **kwargs) -> torch.Tensor:
        output = run(*args, **kwargs)
        return output + self.change(output, F.gelu)


@ADAPTERS.register_module('parallel_mlp')
class ParallelMLP(_TwoLayers):
    """Two small linear layers beside the MLP.

    Args:
        layer: An MLP.
        domain: As in ``AddedAdapter``.
        width: Number of hidden units, >= 1.
        scale: Factor of their output, > 0.

    Source: AdaptFormer, arXiv 2205.13535.
    """

    targets = ('mlp',)

    def __init__(self, layer: Any, domain: Domain, width: int = 64, scale: float = 0.1):
        linear = [part for part in layer.modules() if isinstance(part, nn.Linear)]
        if len(linear) < 2:
            raise UserError(f'parallel_mlp stands beside an MLP, not a {type(layer).__name__}. Change its targets.')
        super().__init__(domain, width, linear[0].in_features, linear[-1].out_features)
        _check_size('scale', scale, Real)
        self.scale = scale

    def forward(self, run: Callable, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        return run(x, *args, **kwargs) + self.scale * self.change(x, F.relu)


@ADAPTERS.register_module('prompt')
class Prompt(AddedAdapter):
    """Learned tokens, as keys and values, to which all tokens attend; a factor for each head starts at zero.

    The attention to them has a softmax of its own. In one softmax with the image's tokens, they would have an effect
    from the start.

    Args:
        layer: The attention of a ViT.
        domain: As in ``AddedAdapter``.
        tokens: Number of tokens in each layer, >= 1.

    Source: LLaMA-Adapter, arXiv 2303.16199, section 3.2; prefix tuning, arXiv 2101.00190.
    """

    targets = ('attn',)
    attributes = ('scaled_dot_product_attention',)

    def __init__(self, layer: Any, domain: Domain, tokens: int = 8):
        super().__init__(domain)
        _check_size('tokens', tokens)
        if not hasattr(layer, 'scaled_dot_product_attention'):
            raise UserError(
                f"prompt needs the attention of mmpretrain's ViT, not a {type(layer).__name__}. Choose another adapter."
            )
        shape = layer.num_heads, tokens, layer.head_dims
        for name in ('keys', 'values'):
            self.add(name, 0.02 * torch.randn(shape))
        self.add('gate', torch.zeros(layer.num_heads, 1, 1))

    def changed(self, name: str, value: Callable) -> Callable:
        """Add the attention to the learned tokens."""

        def attention(query, key, values, **kwargs):
            learned = (self.own(one).to(query).expand(len(query), -1, -1, -1) for one in ('keys', 'values'))
            return value(query, key, values, **kwargs) + self.own('gate').tanh().to(query) * value(query, *learned)

        return attention


def _uniform(rows: int, columns: int) -> torch.Tensor:
    """Initialise a weight (rows, columns) as ``nn.Linear`` does."""
    weight = torch.empty(rows, columns)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return weight


def _check_size(name: str, value: Any, kind: Any = int) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < math.inf:
        what = 'whole number >= 1' if kind is int else 'number > 0'
        raise UserError(f'{name} of an adapter is a {what}, but got {value!r}.')
