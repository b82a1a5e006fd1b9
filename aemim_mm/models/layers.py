"""mmpretrain's ViT layer, computed with less work."""

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer


class ViTLayer(TransformerEncoderLayer):
    """mmpretrain's ``TransformerEncoderLayer``: the same parameters and results.

    It takes query, key and value apart in one piece, so that the backward pass puts them together in one, where
    upstream's fills and adds three. And it leaves out what the first and the last layer of MAE's decoder can.
    """

    def forward(self, x: torch.Tensor, shared=None, unused: int = 0) -> torch.Tensor:
        """Tokens to tokens.

        Args:
            x: Tokens, (B, N, C).
            shared: Tokens that follow them, a table (L, C) and ids (B, H): projected once, not for each image.
            unused: Of how many of the first tokens no result is wanted.

        Returns:
            (B, N + H - unused, C).
        """
        attn = self.attn
        qkv = attn.qkv(self.ln1(x))
        if shared is not None:
            table, ids = shared
            x = torch.cat((x, F.embedding(ids, table)), 1)
            qkv = torch.cat((qkv, F.embedding(ids, attn.qkv(self.ln1(table)))), 1)
        query, key, value = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        if unused:
            query, x = query[:, :, unused:], x[:, unused:]
        # There, torch's kernel goes back five times slower than in float32.
        if query.device.type == 'cpu' and query.dtype is torch.bfloat16:
            query, key, value = query.float(), key.float(), value.float()
        dropout = attn.attn_drop if self.training else 0.0
        attended = attn.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        attended = attn.proj(attended.transpose(1, 2).flatten(2))
        x = x + attn.out_drop(attn.gamma1(attn.proj_drop(attended)))
        return self.ffn(self.ln2(x), identity=x)


def make_vit_layers(layers) -> None:
    """Have these layers compute as :class:`ViTLayer`, those that are upstream's own and not of another kind.

    They are not built anew, which would draw other random numbers.
    """
    for layer in layers:
        if type(layer) is TransformerEncoderLayer:
            layer.__class__ = ViTLayer
