"""Grids of patches: their size, their positions, and images cut into patches."""

from collections.abc import Sequence

import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding, to_2tuple

from ..errors import UserError


def patch_grid(img_size: int | Sequence[int], patch_size: int | Sequence[int]) -> tuple[int, int]:
    """Compute the rows and columns of patches; sizes are a number or (height, width), in pixels.

    Raises:
        UserError: The image is not a whole number of patches.
    """
    (height, width), (patch_height, patch_width) = to_2tuple(img_size), to_2tuple(patch_size)
    if min(height, width, patch_height, patch_width) < 1 or height % patch_height or width % patch_width:
        raise UserError(
            f'An image of {height}x{width} pixels is not a whole number of {patch_height}x{patch_width} patches. '
            'Change the crop or resize of the pipeline, img_size, or patch_size, so that it is.'
        )
    return height // patch_height, width // patch_width


def checkpoint_grid(length: int, model_grid: tuple[int, int], name: str) -> tuple[int, int]:
    """Compute the rows and columns of a checkpoint's positions.

    Args:
        length: Number of positions.
        model_grid: Rows and columns of the model.
        name: Name of the positions in the checkpoint.

    Raises:
        UserError: Their number is neither the model's nor a square.
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
    """Compute fixed sine-cosine positions of a class token and a grid of patches: (1, 1 + rows * columns, C).

    The patches are in row order. mmpretrain's function is in column order, so it gets the transposed grid; on square
    grids the results are equal.
    """
    return build_2d_sincos_position_embedding(grid[::-1], channels, cls_token=True)


def patchify(images: torch.Tensor, patch_size: int | Sequence[int]) -> torch.Tensor:
    """Cut images (B, C, H, W) into patches (B, L, C * p * p), each in the memory order of a convolution kernel."""
    rows, columns = patch_grid(images.shape[-2:], patch_size)
    patch_height, patch_width = to_2tuple(patch_size)
    patches = images.reshape(len(images), -1, rows, patch_height, columns, patch_width)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(len(images), rows * columns, -1)


def take_tokens(tokens: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Select the tokens with the given ids: from (B, N, C) and ids (B, M) to (B, M, C)."""
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def put_tokens(tokens: torch.Tensor, ids: torch.Tensor, length: int) -> torch.Tensor:
    """Put the tokens (B, M, C) in the places ids (B, M) of (B, length, C); the other places have zeros."""
    places = ids.unsqueeze(-1).expand_as(tokens)
    return tokens.new_zeros(len(tokens), length, tokens.shape[-1]).scatter(1, places, tokens)
