"""AEMIM on SparK."""

from typing import Any

import torch
from mmpretrain.models import SparK
from mmpretrain.models.utils.sparse_modules import SparseBatchNorm2d, SparseHelper, SparseSyncBatchNorm2d
from mmpretrain.registry import MODELS

from ...adapters.adapted import MIXINS, AdaptedLayer, seen_in_domain
from .adversarial_mim import AdversarialMIM


class AdaptedSparseNorm(AdaptedLayer):
    """Mixin over a sparse BatchNorm. Its ``forward`` calls the next class after ``type(self)``, which is this one."""

    def __init_subclass__(cls):
        cls.stock = cls.__bases__[1]
        cls.forward = cls.stock.forward

    def forward(self, *args, **kwargs):
        with seen_in_domain(self):
            return super(self.stock, self).forward(*args, **kwargs)


MIXINS.update(dict.fromkeys((SparseBatchNorm2d, SparseSyncBatchNorm2d), AdaptedSparseNorm))


@MODELS.register_module()
class AESparK(AdversarialMIM, SparK):
    """AEMIM on SparK, with sparse ResNet or ConvNeXt.

    SparK's layers read the mask from a class-wide variable, which each pass sets.

    Source: AEMIM, arXiv 2407.11537; SparK, arXiv 2301.03580.
    """

    prediction_layer = 'neck.proj'
    sample_fields = ()
    head_method = 'forward'

    def features(self, output: Any) -> torch.Tensor:
        """Select the last stage's map, (B, C, h, w)."""
        return output[-1]

    def extract_feat(self, inputs: torch.Tensor) -> Any:
        """Compute the maps of whole images, (B, C, H, W): nothing is hidden."""
        rows, columns = (size // self.downsample_raito for size in inputs.shape[-2:])
        SparseHelper._cur_active = inputs.new_ones(len(inputs), 1, rows, columns, dtype=torch.bool)
        return super().extract_feat(inputs)
