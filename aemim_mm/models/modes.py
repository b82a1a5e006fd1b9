"""Modes that a model has for a while: eval mode, gradients for its inputs only, and buffers that stay as they are."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from ..replay import replaced
from .compilation import check_compiled


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, all modules of ``model`` are in eval mode; afterwards, each module has its own mode again.

    The flags are set directly, not by ``train()``: that would wake modules that are to stay in eval mode, and
    mmpretrain's backbones also freeze layers in it.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with not_training_itself(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Restore the values of all buffers of ``model`` at the end. Some change in eval mode too, as those of VQ-KD do."""
    buffers: list[Any] = [
        (module._buffers, name, buffer, buffer if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for owner, name, buffer, value in buffers:
                owner[name] = buffer if buffer is None else buffer.copy_(value)


@contextmanager
def only_inputs_need_gradients(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter requires a gradient, and no statistics or momentum encoder is updated: no trace is left.

    Autograd then does not store the activations that only parameter gradients need. FSDP's views of parameters are not
    leaves, so they keep their flag; the attack still takes the gradient with respect to the images alone.
    """
    check_compiled(model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.is_leaf]
    with statistics_kept(model.modules()), not_training_itself(model):
        try:
            for parameter in trainable:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)


@contextmanager
def not_training_itself(model: nn.Module) -> Iterator[None]:
    """Inside, the methods that an algorithm names in ``once_a_step`` do nothing: they change weights in the loss.

    mmpretrain's own algorithms name none; CAE has ``momentum_update``.
    """
    with ExitStack() as restore:
        for name in getattr(model, 'once_a_step', ('momentum_update',)):
            if hasattr(model, name):
                restore.enter_context(replaced(model, name, lambda *args, **kwargs: None))
        yield


@contextmanager
def statistics_kept(layers: Iterable[Any]) -> Iterator[None]:
    """Inside, layers normalise by the statistics of the batch as before, but do not update their running statistics."""
    training = [
        layer for layer in layers if isinstance(layer, _NormBase) and layer.training and layer.track_running_stats
    ]
    with ExitStack() as restore:
        for layer in training:
            if isinstance(layer, _InstanceNorm):  # InstanceNorm ignores the flag, so its buffers are taken away.
                for name, buffer in list(layer.named_buffers(recurse=False)):
                    restore.callback(setattr, layer, name, buffer)
                    setattr(layer, name, None)
            else:
                restore.callback(setattr, layer, 'track_running_stats', True)
                layer.track_running_stats = False
        yield
