"""A decoder in which each hidden patch attends to the encoder's tokens, and to no other hidden patch."""

from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule
from mmpretrain.models.utils import build_norm_layer, to_2tuple
from mmpretrain.registry import MODELS
from torch import nn

from ..errors import UserError
from .layers import fast_on_cpu
from .partial_decoding import DecodedPatches
from .patches import patch_grid, put_tokens, sincos_positions

NORM = MappingProxyType(dict(type='LN', eps=1e-6))


@MODELS.register_module()
class AEMIMCrossDecoder(BaseModule):
    """CrossMAE's decoder: cross-attention from hidden patches to the encoder's tokens.

    Each layer reads its own learned weighted sum of the encoder's layers. Since hidden patches do not see each other,
    each prediction is the same whichever other patches are decoded. The algorithm is ``PartialMAE`` or ``AEMIM``.

    Args:
        img_size, patch_size: In pixels, a number or (height, width).
        in_chans: Number of channels of an image.
        embed_dim, encoder_depth: Width and number of layers of the encoder.
        decoder_embed_dim, decoder_depth, decoder_num_heads, mlp_ratio: As of ``MAEPretrainDecoder``.
        norm_cfg: The normalisation layers.
        decode_share, pattern, adv_patches: As of ``AEMIMDecoder``.
        init_cfg: Initialisation, as of every module of mmengine.

    Raises:
        UserError: A decoder without layers, an unknown name, or a share out of its range.

    Source: CrossMAE, arXiv 2401.14391, sections 3.2 to 3.4.
    """

    encoder_options = MappingProxyType(dict(with_layers=True))

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        encoder_depth: int = 12,
        decoder_embed_dim: int = 512,
        decoder_depth: int = 12,
        decoder_num_heads: int = 16,
        mlp_ratio: float = 4.0,
        norm_cfg: Any = NORM,
        decode_share: float = 1.0,
        pattern: str = 'random',
        adv_patches: str = 'same',
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if decoder_depth < 1:
            raise UserError('The decoder needs a layer: set decoder_depth to 1 or more.')
        self.grid, self.embed_dim, self.encoder_depth = patch_grid(img_size, patch_size), embed_dim, encoder_depth
        height, width = to_2tuple(patch_size)
        self.decoded_patches = DecodedPatches(decode_share, self.grid, pattern, adv_patches)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_pos_embed = nn.Parameter(sincos_positions(self.grid, decoder_embed_dim), requires_grad=False)
        self.layer_weights = nn.Parameter(torch.zeros(decoder_depth, 1 + encoder_depth))
        sizes = decoder_embed_dim, embed_dim, decoder_num_heads, int(mlp_ratio * decoder_embed_dim)
        self.decoder_blocks = nn.ModuleList(CrossLayer(*sizes, norm_cfg=dict(norm_cfg)) for _ in range(decoder_depth))
        self.ln1 = build_norm_layer(dict(norm_cfg), decoder_embed_dim)
        self.decoder_pred = nn.Linear(decoder_embed_dim, height * width * in_chans)

    def init_weights(self) -> None:
        """Initialise as CrossMAE does: the weights of the sums have the variance 1 / (number of summands)."""
        super().init_weights()
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.layer_weights, std=self.layer_weights.shape[1] ** -0.5)

    def forward(
        self,
        x: torch.Tensor,
        ids_restore: torch.Tensor,
        layers: list | None = None,
        decoded: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict hidden patches.

        Args:
            x: The encoder's output, normalised tokens of the class and the visible patches, (B, 1 + L_visible, C).
            ids_restore: Position of each patch among the shuffled patches, (B, L).
            layers: The tokens before each layer of the encoder, each as ``x``.
            decoded: Ids of the hidden patches to decode, (B, K). Default: all.

        Returns:
            Predictions: of the patches ``decoded``, in their order, (B, K, p * p * 3); or of all, (B, L, p * p * 3),
            with zeros for visible patches.

        Raises:
            UserError: As ``AEMIMDecoder``, or ``layers`` are missing.
        """
        if layers is None:
            raise UserError(
                "AEMIMCrossDecoder needs the tokens before each layer of the encoder. Set model.type='PartialMAE' or "
                "'AEMIM'."
            )
        self.decoded_patches.check(ids_restore, decoded)
        ids = ids_restore.argsort(1)[:, x.shape[1] - 1 :] if decoded is None else decoded
        tokens = F.embedding(ids, self.mask_token[0] + self.decoder_pos_embed[0, 1:])
        # One product for all layers: (decoder layers, encoder layers) with (encoder layers, B * N * C).
        sums = torch.tensordot(self.layer_weights, torch.stack((*layers, x)), 1)
        for block, memory in zip(self.decoder_blocks, sums):
            tokens = block(tokens, memory)
        pred = self.decoder_pred(self.ln1(tokens))
        return put_tokens(pred, ids, ids_restore.shape[1]) if decoded is None else pred


class CrossLayer(BaseModule):
    """A transformer layer with cross-attention in the place of self-attention.

    Args:
        dims, memory_dims: Width of the tokens, and of the tokens that they attend to.
        num_heads: Number of attention heads.
        feedforward_channels: Hidden width of the MLP.
        norm_cfg: The normalisation layers.
    """

    def __init__(self, dims: int, memory_dims: int, num_heads: int, feedforward_channels: int, norm_cfg: dict):
        super().__init__()
        self.num_heads = num_heads
        self.ln1, self.ln_memory = build_norm_layer(norm_cfg, dims), build_norm_layer(norm_cfg, memory_dims)
        self.query, self.key_value = nn.Linear(dims, dims), nn.Linear(memory_dims, 2 * dims)
        self.proj = nn.Linear(dims, dims)
        self.ln2 = build_norm_layer(norm_cfg, dims)
        self.ffn = FFN(dims, feedforward_channels, act_cfg=dict(type='GELU'))

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Transform tokens (B, K, C), which attend to ``memory``, (B, N, C_memory)."""
        query = self.query(self.ln1(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.key_value(self.ln_memory(memory)).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        query, key, value = fast_on_cpu(query, key.transpose(1, 2), value.transpose(1, 2))
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.proj(attended)
        return self.ffn(self.ln2(x), identity=x)
