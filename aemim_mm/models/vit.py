"""The MAE encoder with adapters for two domains. It embeds visible patches only."""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import MAEViT
from mmpretrain.models.utils import resize_pos_embed, to_2tuple
from mmpretrain.registry import MODELS
from torch import nn

from ..adapters import is_pretrained, recompute, seen_in_domain, split_adapters, sync_adapters
from ..errors import UserError
from .layers import make_vit_layers
from .patches import checkpoint_grid, patch_grid, patchify, sincos_positions, take_tokens


@MODELS.register_module()
class AEMIMViT(MAEViT):
    """mmpretrain's ``MAEViT`` with split adapters, for any image and patch size.

    Parameter names are the same as in ``mmpretrain.VisionTransformer``, plus the adversarial adapters, whose names end
    in ``_adv``.

    Args:
        adapters: What the adversarial domain has of its own, see ``split_adapters``; ``()`` for nothing.
        in_channels: Channels of an image.
        with_cp: Recompute the activations of the layers in the backward pass, which saves memory and takes more time.
        **kwargs: Arguments of ``MAEViT``. ``img_size`` and ``patch_size`` may be (height, width).

    Raises:
        UserError: The image is not a whole number of patches; an unknown adapter.

    Source: AEMIM, arXiv 2407.11537; MAE, arXiv 2111.06377.
    """

    cls_token: nn.Parameter
    patch_embed: Any
    patch_resolution: tuple[int, int]

    def __init__(
        self,
        *args,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        adapters: str | dict | tuple | list = ('norm', 'cls_token'),
        in_channels: int = 3,
        with_cp: bool = False,
        **kwargs: Any,
    ):
        patch_grid(img_size, patch_size)
        # mmpretrain annotates both sizes as int, but takes pairs too.
        kwargs.update(img_size=img_size, patch_size=patch_size)
        kwargs['patch_cfg'] = {'in_channels': in_channels, **kwargs.get('patch_cfg', {})}
        super().__init__(*args, **kwargs)
        self.patch_size = to_2tuple(patch_size)
        make_vit_layers(self.layers)
        if adapters:
            split_adapters(self, adapters)
        if with_cp:
            recompute(self.layers)

    def init_weights(self) -> None:
        """Initialise as MAE does, with positions that are right on non-square grids. Both domains start equal.

        Weights that a checkpoint gave (``init_cfg`` of type Pretrained) stay.
        """
        # Skips MAEViT.init_weights, which assumes a square grid and overwrites the weights of a checkpoint.
        super(MAEViT, self).init_weights()
        if not is_pretrained(self):
            self.pos_embed.data.copy_(sincos_positions(self.patch_resolution, self.embed_dims))
            nn.init.xavier_uniform_(self.patch_embed.projection.weight.data.flatten(1))
            nn.init.normal_(self.cls_token, std=0.02)
        sync_adapters(self)

    def forward(
        self, x: torch.Tensor, mask: bool | torch.Tensor | None = True, with_layers: bool = False
    ) -> tuple[Any, ...]:
        """Compute the features of the visible patches, or of all patches.

        Args:
            x: Normalised images, (B, C, H, W). H and W are multiples of the patch size.
            mask: True hides a random share of the patches. Numbers (B, L) hide the same share: the patches with the
                highest numbers. None or False hides none.
            with_layers: With ``mask``, return the tokens before each layer too.

        Returns:
            With ``mask``: ``(latent, mask, ids_restore)``, of shapes (B, 1 + L_visible, C), (B, L) with 1 = hidden, and
            (B, L); with ``with_layers``, also a list of (B, 1 + L_visible, C). Without: a tuple of features in the form
            of ``out_type``.

        Raises:
            UserError: With ``mask`` and an ``out_type`` other than ``raw``, as in a classifier.
        """
        grid = patch_grid(x.shape[-2:], self.patch_size)
        if mask is None or mask is False:
            return super().forward(x, mask=None)
        if self.out_type != 'raw':
            raise UserError(
                f'AEMIMViT hides patches to pre-train, so it gives tokens, but got out_type={self.out_type!r}. To '
                "fine-tune or probe it, set backbone.type='VisionTransformer' with init_cfg=dict(type='Pretrained', "
                "checkpoint=CHECKPOINT, prefix='backbone.'), which leaves the adversarial adapters behind."
            )

        drawn = self.random_ids(len(x), grid[0] * grid[1], x.device) if mask is True else self.ids_of(mask)
        ids_keep, ids_restore, hidden = drawn
        positions = resize_pos_embed(self.pos_embed, self.patch_resolution, grid, self.interpolate_mode)
        tokens = self._embed(take_tokens(patchify(x, self.patch_size), ids_keep))
        tokens = tokens + take_tokens(positions[:, 1:].expand(len(x), -1, -1), ids_keep)
        cls_token = (self.cls_token + positions[:, :1]).expand(len(x), -1, -1)
        latent = torch.cat((cls_token, tokens), dim=1)
        before = []
        for layer in self.layers:
            before.append(latent)
            latent = layer(latent)
        return self.norm1(latent), hidden, ids_restore, *([before] if with_layers else [])

    def random_ids(self, batch: int, length: int, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Draw a mask as MAE does, with the same random numbers; the result is as of :meth:`ids_of`."""
        return self.ids_of(torch.rand(batch, length, device=device))

    def ids_of(self, priorities: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hide the patches with the highest priorities (B, L).

        Returns:
            ``ids_keep`` (B, L_visible), ``ids_restore`` (B, L), and ``mask`` (B, L) with 1 = hidden.
        """
        ids_shuffle = priorities.argsort(dim=1)
        ids_restore = ids_shuffle.argsort(dim=1)
        visible = self.count_visible(priorities.shape[1])
        return ids_shuffle[:, :visible], ids_restore, (ids_restore >= visible).float()

    def count_visible(self, length: int) -> int:
        """Return how many of ``length`` patches stay visible."""
        return int(length * (1 - self.mask_ratio))

    def _embed(self, patches: torch.Tensor) -> torch.Tensor:
        """Embed patches (B, N, C * p * p) as tokens (B, N, D) by the patch embedding's convolution."""
        projection = self.patch_embed.projection
        with seen_in_domain(projection):
            tokens = F.linear(patches, projection.weight.flatten(1), projection.bias)
        return tokens if self.patch_embed.norm is None else self.patch_embed.norm(tokens)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return a parameter's depth for layer-wise learning rates. ``X_adv`` has the depth of ``X``."""
        return super().get_layer_depth(param_name.removesuffix('_adv'), prefix)

    def _prepare_pos_embed(self, state_dict, prefix, *args, **kwargs):
        stock = f'{prefix}pos_embed'
        for name in (stock, f'{stock}_adv'):
            positions = state_dict.get(name)
            if positions is not None and positions.shape != self.pos_embed.shape:
                checkpoint_grid(positions.shape[1] - self.num_extra_tokens, self.patch_resolution, name)
                alone = {stock: positions}
                super()._prepare_pos_embed(alone, prefix, *args, **kwargs)
                state_dict[name] = alone[stock]
