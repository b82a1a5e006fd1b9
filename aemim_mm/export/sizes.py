"""Fit an encoder to images and patches of other sizes."""

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed, to_2tuple

from ..errors import UserError
from ..models.patches import patch_grid
from .spec import EncoderSpec

POSITIONS = ('backbone.pos_embed', 'neck.decoder_pos_embed')
EMBEDDING = 'backbone.patch_embed.projection.weight'
PREDICTION = 'neck.decoder_pred.'


@torch.no_grad()
def resize(
    state: dict,
    spec: EncoderSpec,
    img_size: int | tuple[int, int] | None = None,
    patch_size: int | tuple[int, int] | None = None,
) -> dict[str, str]:
    """Fit an encoder and its decoder to another size of images or patches, in place.

    Positions are interpolated bicubically without antialiasing, as in mmpretrain at loading and in Hugging Face with
    ``interpolate_pos_encoding=True``. The embedding of patches becomes the one that gives, for patches that were
    resized, the nearest outputs to the old ones. The decoder's prediction layer does not fit patches of another size.

    Args:
        state: Tensors under our names; changed.
        spec: The description of the encoder; its sizes are changed.
        img_size, patch_size: In pixels, a number or (height, width). Default: as they are.

    Returns:
        Names of tensors that were removed, with the reason.

    Raises:
        UserError: The image is no whole number of patches, or the encoder is a Swin, whose patches are merged.

    Source: for patches, FlexiViT, arXiv 2212.08013, section 3.4.
    """
    images: Any = to_2tuple(spec.img_size if img_size is None else img_size)
    patches: Any = to_2tuple(spec.patch_size if patch_size is None else patch_size)
    source, target = spec.grid, patch_grid(images, patches)
    left_out = {}
    if tuple(patches) != tuple(spec.patch_size):
        if spec.kind != 'vit':
            raise UserError('The size of patches can be changed for a ViT only, because a Swin merges its patches.')
        state[EMBEDDING] = _resized_embedding(state[EMBEDDING], patches)
        left_out = {name: 'it predicts patches of another size' for name in state if name.startswith(PREDICTION)}
        for name in left_out:
            del state[name]
    spec.img_size, spec.patch_size = tuple(images), tuple(patches)
    for name in POSITIONS if spec.kind == 'vit' else ():
        if name in state:
            state[name] = resize_pos_embed(state[name], source, target)
    return left_out


def _resized_embedding(weight: torch.Tensor, patches: tuple[int, int]) -> torch.Tensor:
    """Return the kernel (D, C, h, w) of another size. For larger patches, its outputs are exactly the old ones."""
    old = weight.shape[2:]
    pixels = torch.eye(prod(old), dtype=torch.float64).view(-1, 1, *old)
    # Row i is the picture that pixel i becomes, so a patch x becomes x @ resize.
    resize = F.interpolate(pixels, patches, mode='bicubic', antialias=True).flatten(1)
    kernel = weight.double().flatten(2) @ torch.linalg.pinv(resize).T
    return kernel.unflatten(-1, patches).to(weight.dtype)
