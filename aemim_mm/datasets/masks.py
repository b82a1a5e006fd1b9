"""SimMIM's masks, for images that may be non-square."""

import math

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.models.utils import to_2tuple
from mmpretrain.registry import TRANSFORMS

from ..errors import UserError


@TRANSFORMS.register_module()
class BlockMaskGenerator(BaseTransform):
    """Hide random square blocks of an image; on square images, as mmpretrain's ``SimMIMMaskGenerator``.

    It adds the key ``mask``, (rows, columns) of the encoder's patches, 1 = hidden.

    Args:
        input_size: Size of the image in pixels, a number or (height, width).
        mask_patch_size: Side of a block in pixels. It divides ``input_size``.
        model_patch_size: Side of an encoder's patch in pixels. It divides ``mask_patch_size``.
        mask_ratio: Share of hidden blocks, rounded up.

    Raises:
        UserError: A size does not divide the other, or the masks would hide all blocks or none.

    Source: SimMIM, arXiv 2111.09886, section 3.
    """

    def __init__(
        self,
        input_size: int | tuple[int, int] = 192,
        mask_patch_size: int = 32,
        model_patch_size: int = 4,
        mask_ratio: float = 0.6,
    ):
        height, width = to_2tuple(input_size)
        if height % mask_patch_size or width % mask_patch_size or mask_patch_size % model_patch_size:
            raise UserError(
                f'mask_patch_size divides input_size, and model_patch_size divides mask_patch_size, but got input_size='
                f'{input_size}, mask_patch_size={mask_patch_size} and model_patch_size={model_patch_size}.'
            )
        self.grid = height // mask_patch_size, width // mask_patch_size
        self.scale = mask_patch_size // model_patch_size
        blocks = self.grid[0] * self.grid[1]
        self.hidden = math.ceil(blocks * mask_ratio)
        if not 0 < self.hidden < blocks:
            raise UserError(
                f'At least one of the {blocks} blocks is hidden, and one visible, but mask_ratio={mask_ratio} hides '
                f'{self.hidden}. Change mask_ratio or mask_patch_size.'
            )

    def transform(self, results: dict) -> dict:
        """Add ``mask`` to the results."""
        mask = np.zeros(self.grid[0] * self.grid[1], dtype=int)
        mask[np.random.permutation(len(mask))[: self.hidden]] = 1
        results['mask'] = mask.reshape(self.grid).repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        return results
