"""A plain ViT as the encoder of SimMIM and iBOT."""

from typing import Any

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import nn

from ..adapters import is_pretrained
from .patches import patch_grid


@MODELS.register_module()
class SimMIMViT(VisionTransformer):
    """mmpretrain's ``VisionTransformer`` with hidden patches, which mmpretrain has for Swin only.

    A learned token replaces the token of a hidden patch, before positions are added. Parameter names are the same as in
    ``VisionTransformer``, plus ``mask_token``.

    Args:
        out_type: As of ``VisionTransformer``: ``featmap`` for SimMIM, ``raw`` (class token and patch tokens) for iBOT.
        **kwargs: Arguments of ``VisionTransformer``.

    Source: SimMIM, arXiv 2111.09886, section 3.
    """

    def __init__(
        self,
        *args,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        out_type: str = 'featmap',
        **kwargs: Any,
    ):
        patch_grid(img_size, patch_size)
        # mmpretrain annotates both sizes as int, but takes pairs too.
        kwargs.update(img_size=img_size, patch_size=patch_size)
        super().__init__(*args, out_type=out_type, **kwargs)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self._mask = None  # Of the forward pass that runs now.
        self.patch_embed.register_forward_hook(self._hide)

    def init_weights(self) -> None:
        super().init_weights()
        if not is_pretrained(self):
            nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Compute the features of images whose patches are hidden by ``mask``.

        Args:
            x: Normalised images, (B, 3, H, W).
            mask: (B, rows, columns), 1 = hidden. None hides nothing.

        Returns:
            A tuple of one feature map, (B, C, rows, columns), or of what ``out_type`` says.
        """
        self._mask = mask
        try:
            return super().forward(x)
        finally:
            self._mask = None

    def _hide(self, _module, _args, output):
        if self._mask is None:
            return output
        tokens, grid = output
        hidden = self._mask.flatten(1).unsqueeze(-1).type_as(tokens)
        return tokens * (1 - hidden) + self.mask_token * hidden, grid
