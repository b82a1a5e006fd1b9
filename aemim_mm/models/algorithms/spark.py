"""AEMIM on SparK."""

from contextlib import nullcontext
from typing import Any

import torch
from mmpretrain.models import SparK
from mmpretrain.models.utils.sparse_modules import SparseBatchNorm2d, SparseHelper, SparseSyncBatchNorm2d
from mmpretrain.registry import MODELS

from ...adapters.split import MIXINS, SplitLayer
from ...domain import Domain
from .adversarial_mim import AdversarialMIM


class SparseSplitLayer(SplitLayer):
    """Mixin over a sparse BatchNorm, which finds its parent by ``type(self)``: it runs as its stock class."""

    def forward(self, *args, **kwargs):
        split, stock = type(self), type(self).__bases__[1]
        with self._adv_weights() if self.domain is Domain.ADV else nullcontext():
            self.__class__ = stock
            try:
                return stock.forward(self, *args, **kwargs)
            finally:
                self.__class__ = split


MIXINS.update(dict.fromkeys((SparseBatchNorm2d, SparseSyncBatchNorm2d), SparseSplitLayer))


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
