"""Sizes of images, patches and masks that have to agree between the parts of an algorithm."""

from typing import Any

import torch
from mmpretrain.models import SimMIMLinearDecoder, SwinTransformer
from mmpretrain.models.utils import to_2tuple

from ..errors import UserError
from .cross_decoder import AEMIMCrossDecoder
from .mae_parts import AEMIMDecoder, AEMIMHead
from .patches import patch_grid
from .vit import AEMIMViT


def check_mae(backbone: Any, neck: Any, head: Any) -> None:
    """Check the sizes of AEMIM's parts on MAE; parts of other types are not checked.

    Raises:
        UserError: The mask hides all patches or none, two sizes differ, or the decoder needs other parts beside it.
    """
    if not isinstance(neck, (AEMIMDecoder, AEMIMCrossDecoder)):
        return
    if isinstance(neck, AEMIMCrossDecoder) and not isinstance(backbone, AEMIMViT):
        raise UserError(f"AEMIMCrossDecoder needs model.backbone.type='AEMIMViT', but got a {type(backbone).__name__}.")
    if neck.decoded_patches.share < 1 and not isinstance(head, AEMIMHead):
        raise UserError(f"decode_share below 1 needs model.head.type='AEMIMHead', but got a {type(head).__name__}.")
    if not (isinstance(backbone, AEMIMViT) and isinstance(head, AEMIMHead)):
        return
    patches = backbone.num_patches
    visible = backbone.count_visible(patches)
    if not 0 < visible < patches:
        raise UserError(
            f'model.backbone.mask_ratio is > 0 and <= {1 - 1 / patches:.4g}, so that at least one of the {patches} '
            f'patches is hidden and one visible, but got {backbone.mask_ratio!r}.'
        )
    projection = backbone.patch_embed.projection
    height, width = backbone.patch_size
    for field, got, expected in (
        ('neck.img_size and neck.patch_size, as rows and columns of patches', neck.grid, backbone.patch_resolution),
        ('head.patch_size', to_2tuple(head.patch_size), backbone.patch_size),
        ('neck.embed_dim', neck.embed_dim, backbone.embed_dims),
        ('neck.encoder_depth', getattr(neck, 'encoder_depth', len(backbone.layers)), len(backbone.layers)),
        (
            'neck.patch_size and neck.in_chans, as values of a patch',
            neck.decoder_pred.out_features,
            height * width * projection.in_channels,
        ),
    ):
        if got != expected:
            raise UserError(f'model.{field}: got {got}, but model.backbone has {expected}. Make them equal.')
    if head.norm_pix and height * width * projection.in_channels == 1:
        raise UserError('norm_pix needs patches of 2 values or more: set model.head.norm_pix=False, or a patch_size.')


def check_simmim(backbone: Any, neck: Any, head: Any, images: torch.Tensor, masks: torch.Tensor) -> None:
    """Check that images, masks and the parts of SimMIM fit each other.

    Args:
        backbone, neck, head: The parts of the algorithm.
        images: (B, C, H, W).
        masks: (B, rows, columns), 1 = hidden.

    Raises:
        UserError: Two sizes differ, or a mask hides all patches or none.
    """
    projection = getattr(getattr(backbone, 'patch_embed', None), 'projection', None)
    if projection is None:  # A backbone of another kind.
        return
    size, patch = tuple(images.shape[-2:]), projection.kernel_size
    grid, found = patch_grid(size, patch), tuple(masks.shape[1:])
    if found != grid:
        raise UserError(
            f'The masks have {_times(found)} tokens, but images of {_times(size)} pixels in patches of {_times(patch)} '
            f'have {_times(grid)}. In the mask generator of the pipeline, set input_size to the size of the crop, and '
            'model_patch_size to the patch size of the backbone.'
        )
    if to_2tuple(head.patch_size) != patch:
        raise UserError(f'model.head.patch_size is {patch[0]}, as of the backbone, but got {head.patch_size}.')
    stride = patch[0] * 2 ** min(backbone.out_indices) if isinstance(backbone, SwinTransformer) else patch[0]
    if isinstance(neck, SimMIMLinearDecoder) and neck.decoder[-1].upscale_factor != stride:
        got = neck.decoder[-1].upscale_factor
        raise UserError(f'model.neck.encoder_stride is {stride}, the stride of the backbone, but got {got}.')
    hidden = masks.flatten(1).sum(1)
    if not ((hidden > 0) & (hidden < grid[0] * grid[1])).all():
        raise UserError(
            f'A mask hides {int(hidden.min())} to {int(hidden.max())} of {grid[0] * grid[1]} patches. At least one has '
            'to be hidden, and one visible: change mask_ratio or mask_patch_size of the mask generator.'
        )


def _times(size: tuple) -> str:
    return 'x'.join(map(str, size))
