"""The head of iBOT: from tokens to scores, which a softmax makes a distribution over learned classes."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn


class CosineLinear(nn.Linear):
    """A linear layer without bias whose rows have length 1, whatever the length of its weights; always in float32.

    A teacher divides the scores, which are in [-1, 1], by a temperature of about 0.05. In bfloat16, their rounding
    would be visible in its distribution.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def forward(self, embedded: torch.Tensor) -> torch.Tensor:
        """Compute scores (..., K) of embedded tokens (..., C)."""
        with torch.autocast(embedded.device.type, enabled=False):
            return F.linear(embedded.to(self.weight.dtype), F.normalize(self.weight, dim=1))


@MODELS.register_module()
class IBOTHead(BaseModule):
    """Project tokens, class tokens and patch tokens alike, and compare them with ``out_channels`` directions.

    Args:
        in_channels: Width of a token.
        hidden_channels: Width of the hidden layers.
        bottleneck_channels: Width of the projection, which has length 1.
        out_channels: Number of scores, K.
        num_layers: Number of linear layers of the projection, >= 1.
        init_cfg: As of mmengine's ``BaseModule``.

    Source: iBOT, arXiv 2111.07832, section 3; DINO, arXiv 2104.14294, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        out_channels: int = 8192,
        num_layers: int = 3,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0))
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), bottleneck_channels]
        layers = [layer for pair in zip(widths, widths[1:]) for layer in (nn.GELU(), nn.Linear(*pair))]
        self.projection = nn.Sequential(*layers[1:])
        self.last_layer = CosineLinear(bottleneck_channels, out_channels)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project tokens (..., C) to vectors of length 1, (..., bottleneck_channels)."""
        return F.normalize(self.projection(tokens).float(), dim=-1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the scores of tokens (..., C): cosines, (..., K)."""
        return self.last_layer(self.embed(tokens))
