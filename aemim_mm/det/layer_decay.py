"""Layer-wise learning-rate decay for detectors. mmpretrain's is for classifiers, and mmdet's for ConvNeXt."""

from collections.abc import Callable
from functools import partial

from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from ..errors import UserError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer-decay constructor for models whose backbone has ``get_layer_depth``.

    With L layers and decay d, the learning rate is multiplied by d^(L + 1) for the patch embedding and the positions,
    by d^L for the first layer, ..., by d for the last layer, and by 1 for neck and heads.

    Args:
        **kwargs: Arguments of mmpretrain's constructor. ``paramwise_cfg`` takes ``layer_decay_rate``,
            ``norm_decay_mult``, ``bias_decay_mult``, ``flat_decay_mult`` and ``custom_keys``.

    Raises:
        UserError: The backbone has no ``get_layer_depth``.

    Source: Clark et al., arXiv 2003.10555; for detectors, Li et al., arXiv 2203.16527.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Callable | None = None,
        **kwargs,
    ) -> None:
        """Add the parameters of ``module`` to the groups ``params``."""
        if get_layer_depth is None:
            backbone = getattr(module, 'backbone', None)
            if backbone is None or not hasattr(backbone, 'get_layer_depth'):
                raise UserError(
                    f'Layer decay needs a backbone with get_layer_depth, but got {type(backbone).__name__}. Take '
                    'ViTDet, or one of mmpretrain such as mmpretrain.SwinTransformer, or leave the constructor out.'
                )
            get_layer_depth = partial(backbone.get_layer_depth, prefix='backbone.')
        super().add_params(params, module, prefix=prefix, get_layer_depth=get_layer_depth, **kwargs)
