"""mmpretrain's ViT layer, computed with less work."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn

from ..adapters import seen_in_domain

# On a CPU, the backward pass of torch's attention is five times slower in bfloat16 than in float32.
ATTENTION_ON_CPU = torch.float32


class ViTLayer(TransformerEncoderLayer):
    """mmpretrain's ``TransformerEncoderLayer`` with the same parameters and results, but less work.

    Query, key and value are split in one operation. Its backward pass concatenates their gradients once, where upstream
    fills and adds three tensors. The first and the last layer of MAE's decoder skip work by ``appended`` and
    ``skip_outputs``.
    """

    def forward(
        self, x: torch.Tensor, appended: tuple[torch.Tensor, torch.Tensor] | None = None, skip_outputs: int = 0
    ) -> torch.Tensor:
        """Transform tokens.

        Args:
            x: Tokens, (B, N, C).
            appended: Tokens to append, as a table (L, C) that all images share and the ids (B, H) of its rows. The
                table is projected once rather than once for each image.
            skip_outputs: Number of leading tokens that serve as keys and values only.

        Returns:
            Tokens, (B, N + H - skip_outputs, C).
        """
        attn = self.attn
        qkv = attn.qkv(self.ln1(x))
        if appended is not None:
            table, ids = appended
            x = torch.cat((x, F.embedding(ids, table)), 1)
            qkv = torch.cat((qkv, F.embedding(ids, attn.qkv(self.ln1(table)))), 1)
        query, key, value = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        if skip_outputs:
            query, x = query[:, :, skip_outputs:], x[:, skip_outputs:]
        dropout = attn.attn_drop if self.training else 0.0
        with seen_in_domain(attn):
            attended = attn.scaled_dot_product_attention(*fast_on_cpu(query, key, value), dropout_p=dropout)
        attended = attn.proj(attended.transpose(1, 2).flatten(2))
        x = x + attn.out_drop(attn.gamma1(attn.proj_drop(attended)))
        return self.ffn(self.ln2(x), identity=x)


def fast_on_cpu(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Give tensors for attention the type that is fast on their device."""
    is_slow = tensors[0].device.type == 'cpu' and tensors[0].dtype is torch.bfloat16
    return tuple(tensor.to(ATTENTION_ON_CPU) for tensor in tensors) if is_slow else tensors


def make_vit_layers(layers: Iterable[nn.Module]) -> None:
    """Turn mmpretrain's own layers into :class:`ViTLayer` in place; subclasses of other kinds stay as they are.

    Building new layers would draw other random numbers.
    """
    for layer in layers:
        if type(layer) is TransformerEncoderLayer:
            layer.__class__ = ViTLayer
