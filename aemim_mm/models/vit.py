"""The MAE encoder with adapters for two domains, which embeds only the patches it will see."""

import torch
import torch.nn.functional as F
from mmpretrain.models import MAEViT, VisionTransformer
from mmpretrain.models.utils import build_2d_sincos_position_embedding, resize_pos_embed, to_2tuple
from mmpretrain.registry import MODELS
from torch import nn

from ..adapters import is_pretrained, split_adapters, sync_adapters
from ..errors import UserError
from .layers import make_vit_layers


def patch_grid(img_size, patch_size) -> tuple[int, int]:
    """Rows and columns of patches; sizes are a number or (height, width), in pixels.

    Raises:
        UserError: The image is not a whole number of patches.
    """
    (height, width), (patch_height, patch_width) = to_2tuple(img_size), to_2tuple(patch_size)
    if height % patch_height or width % patch_width:
        raise UserError(
            f'An image of {height}x{width} pixels is not a whole number of {patch_height}x{patch_width} patches. '
            'Change the crop or resize of the pipeline, img_size, or patch_size, so that it is.'
        )
    return height // patch_height, width // patch_width


def checkpoint_grid(length: int, model_grid: tuple[int, int], name: str) -> tuple[int, int]:
    """Rows and columns of the ``length`` positions that a checkpoint holds as ``name``.

    Raises:
        UserError: They are no square, and not as many as the model has.
    """
    if length == model_grid[0] * model_grid[1]:
        return model_grid
    side = int(length**0.5)
    if side * side != length:
        raise UserError(
            f'{name} of the checkpoint holds {length} patches, which is no square, and this model has '
            f'{model_grid[0]}x{model_grid[1]}: the rows and columns of the checkpoint cannot be known. Build the model '
            'with the img_size of the checkpoint, and give it images of another size.'
        )
    return side, side


def sincos_positions(grid: tuple[int, int], channels: int) -> torch.Tensor:
    """Fixed sine-cosine positions of a class token and a grid of patches, row by row: (1, 1 + rows * columns, C).

    Equals mmpretrain's on square grids. There, upstream takes the grid column by column, so it is given the transpose.
    """
    return build_2d_sincos_position_embedding(grid[::-1], channels, cls_token=True)


def patchify(images: torch.Tensor, patch_size) -> torch.Tensor:
    """(B, C, H, W) to (B, L, C * p * p), each patch in the memory order of a convolution kernel."""
    rows, columns = patch_grid(images.shape[-2:], patch_size)
    patch_height, patch_width = to_2tuple(patch_size)
    patches = images.reshape(len(images), -1, rows, patch_height, columns, patch_width)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(len(images), rows * columns, -1)


@MODELS.register_module()
class AEMIMViT(MAEViT):
    """mmpretrain's ``MAEViT`` with split adapters, for any image and patch size.

    Parameter names are those of ``mmpretrain.VisionTransformer``, plus the adversarial adapters, which end in ``_adv``.

    Args:
        adapters: What each domain has of its own: ``norm``, ``cls_token``; empty for none. See ``split_adapters``.
        **kwargs: Of ``MAEViT``. ``img_size`` and ``patch_size`` may be (height, width).

    Raises:
        UserError: The image is not a whole number of patches; an unknown adapter.

    Source: AEMIM, arXiv 2407.11537; MAE, arXiv 2111.06377.
    """

    def __init__(self, *args, img_size=224, patch_size=16, adapters=('norm', 'cls_token'), **kwargs):
        patch_grid(img_size, patch_size)
        super().__init__(*args, img_size=img_size, patch_size=patch_size, **kwargs)
        self.patch_size = to_2tuple(patch_size)
        make_vit_layers(self.layers)
        if adapters:
            split_adapters(self, adapters)

    def init_weights(self) -> None:
        """As MAE, with positions that are right on non-square grids; both domains start equal.

        The weights of a checkpoint (``init_cfg`` of type Pretrained) stay as they are.
        """
        # Not MAEViT's, which takes every grid for square and draws anew over what a checkpoint gave.
        super(MAEViT, self).init_weights()
        if not is_pretrained(self):
            self.pos_embed.data.copy_(sincos_positions(self.patch_resolution, self.embed_dims))
            nn.init.xavier_uniform_(self.patch_embed.projection.weight.data.flatten(1))
            nn.init.normal_(self.cls_token, std=0.02)
        sync_adapters(self)

    def forward(self, x: torch.Tensor, mask=True):
        """Features of the visible patches, or of all.

        Args:
            x: Normalised images, (B, 3, H, W), of any size that is a whole number of patches.
            mask: True hides a random share of the patches; None or False shows all.

        Returns:
            With ``mask``: ``(latent, mask, ids_restore)``, of shapes (B, 1 + L_visible, C), (B, L) with 1 = hidden, and
            (B, L). Without: a tuple of features in the form that ``out_type`` says.

        Raises:
            UserError: With ``mask`` and an ``out_type`` other than ``raw``, as in a classifier.
        """
        grid = patch_grid(x.shape[-2:], self.patch_size)
        if not mask:
            return super().forward(x, mask=None)
        if self.out_type != 'raw':
            raise UserError(
                f'AEMIMViT hides patches to pre-train, so it gives tokens, but got out_type={self.out_type!r}. To '
                "fine-tune or probe it, set backbone.type='VisionTransformer' with init_cfg=dict(type='Pretrained', "
                "checkpoint=CHECKPOINT, prefix='backbone.'), which leaves the adversarial adapters behind."
            )

        ids_keep, ids_restore, mask = self.random_ids(len(x), grid[0] * grid[1], x.device)
        positions = resize_pos_embed(self.pos_embed, self.patch_resolution, grid, self.interpolate_mode)
        tokens = self._embed(take_tokens(patchify(x, self.patch_size), ids_keep))
        tokens = tokens + take_tokens(positions[:, 1:].expand(len(x), -1, -1), ids_keep)
        cls_token = (self.cls_token + positions[:, :1]).expand(len(x), -1, -1)
        latent = torch.cat((cls_token, tokens), dim=1)
        for layer in self.layers:
            latent = layer(latent)
        return self.norm1(latent), mask, ids_restore

    def random_ids(self, batch: int, length: int, device):
        """Draw a mask as MAE does, from the same random numbers.

        Returns:
            ``ids_keep`` (B, L_visible), ``ids_restore`` (B, L), and ``mask`` (B, L) with 1 = hidden.
        """
        ids_shuffle = torch.rand(batch, length, device=device).argsort(dim=1)
        ids_restore = ids_shuffle.argsort(dim=1)
        visible = int(length * (1 - self.mask_ratio))
        return ids_shuffle[:, :visible], ids_restore, (ids_restore >= visible).float()

    def _embed(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches (B, N, 3 * p * p) to tokens (B, N, C): the patch embedding's convolution, where it is needed only."""
        projection = self.patch_embed.projection
        tokens = F.linear(patches, projection.weight.flatten(1), projection.bias)
        return tokens if self.patch_embed.norm is None else self.patch_embed.norm(tokens)

    def get_layer_depth(self, param_name: str, prefix: str = ''):
        """Depth of a parameter for layer-wise learning rates; an adversarial adapter's is that of the clean one."""
        return super().get_layer_depth(param_name.removesuffix('_adv'), prefix)

    def _prepare_pos_embed(self, state_dict, prefix, *args, **kwargs):
        positions = state_dict.get(f'{prefix}pos_embed')
        if positions is None or positions.shape == self.pos_embed.shape:
            return
        checkpoint_grid(positions.shape[1] - self.num_extra_tokens, self.patch_resolution, f'{prefix}pos_embed')
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)


def take_tokens(tokens: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Of tokens (B, N, C), those of ``ids`` (B, M): (B, M, C)."""
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


@MODELS.register_module()
class SimMIMViT(VisionTransformer):
    """mmpretrain's ``VisionTransformer`` for SimMIM pre-training, which mmpretrain has for Swin only.

    A hidden patch's token is replaced by a learned one, before positions are added. Parameter names are those of
    ``VisionTransformer``, plus ``mask_token``.

    Args:
        **kwargs: Of ``VisionTransformer``. ``out_type`` is ``featmap``.

    Source: SimMIM, arXiv 2111.09886, section 3.
    """

    def __init__(self, *args, img_size=224, patch_size=16, **kwargs):
        patch_grid(img_size, patch_size)
        super().__init__(*args, img_size=img_size, patch_size=patch_size, out_type='featmap', **kwargs)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def init_weights(self) -> None:
        super().init_weights()
        if not is_pretrained(self):
            nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None):
        """Feature map of an image, with the patches of ``mask`` hidden.

        Args:
            x: Normalised images, (B, 3, H, W).
            mask: (B, rows, columns), 1 = hidden. None hides nothing.

        Returns:
            A tuple of one feature map, (B, C, rows, columns).
        """
        if mask is None:
            return super().forward(x)

        def hide(_module, _args, output):
            tokens, grid = output
            hidden = mask.flatten(1).unsqueeze(-1).type_as(tokens)
            return tokens * (1 - hidden) + self.mask_token * hidden, grid

        handle = self.patch_embed.register_forward_hook(hide)
        try:
            return super().forward(x)
        finally:
            handle.remove()
