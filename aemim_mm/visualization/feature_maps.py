"""Maps of what an encoder sees: attention of the class token, and features as colours."""

from typing import Any

import numpy as np
import torch
from matplotlib import colormaps

from ..errors import UserError
from ..models.patches import patch_grid


@torch.no_grad()
def attention_maps(backbone: Any, images: torch.Tensor) -> torch.Tensor:
    """Compute the attention of the class token to each patch in the last layer of a ViT, the mean over the heads.

    Args:
        backbone: mmpretrain's ``VisionTransformer`` with a class token.
        images: Normalised images, (B, C, H, W), with H and W multiples of the patch size.

    Returns:
        (B, rows, columns); the attention to all patches and to the class token itself sums up to 1.

    Raises:
        UserError: The backbone is no ViT with a class token.
    """
    layers = getattr(backbone, 'layers', None)
    attention: Any = getattr(layers[-1], 'attn', None) if layers else None
    if not hasattr(attention, 'qkv') or getattr(backbone, 'cls_token', None) is None:
        raise UserError(f'Attention maps are of a ViT with a class token, but got a {type(backbone).__name__}.')
    seen = []
    handle = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        backbone(images)
    finally:
        handle.remove()
    tokens = seen[0]
    queries, keys, _ = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    scores = queries[:, :, :1] @ keys.transpose(-2, -1) / keys.shape[-1] ** 0.5
    patches = scores.softmax(dim=-1).mean(dim=1)[:, 0, 1:]
    return patches.unflatten(1, patch_grid(images.shape[-2:], backbone.patch_embed.projection.kernel_size))


def principal_colours(*maps: torch.Tensor) -> list[np.ndarray]:
    """Show the first three principal components of features as red, green and blue.

    The components, and the range of each colour, are of the first maps, so that equal colours are equal features.

    Args:
        maps: Features (B, C, rows, columns).

    Returns:
        For each of ``maps``, (B, rows, columns, 3), uint8.

    Source: DINOv2, arXiv 2304.07193, figure 1.
    """
    tokens = [one.movedim(1, -1).float().cpu() for one in maps]
    flat = tokens[0].flatten(0, 2)
    center = flat.mean(dim=0)
    basis = torch.linalg.svd(flat - center, full_matrices=False).Vh[:3]
    # The sign of a component is arbitrary, and may depend on the machine.
    basis = basis * torch.sign(basis.sum(dim=1, keepdim=True))
    low, high = torch.quantile((flat - center) @ basis.T, torch.tensor([0.02, 0.98]), dim=0)
    shares = [((one - center) @ basis.T - low) / (high - low).clamp_min(1e-12) for one in tokens]
    return [(share.clamp(0, 1) * 255).round().byte().numpy() for share in shares]


def heat(values: torch.Tensor, top: float) -> np.ndarray:
    """Show values from 0 to ``top`` as colours from dark to bright, (..., 3), uint8.

    Args:
        values: Of any shape.
        top: The value of the brightest colour, > 0.
    """
    return colormaps['inferno']((values.float().cpu().numpy() / top).clip(0, 1), bytes=True)[..., :3]
