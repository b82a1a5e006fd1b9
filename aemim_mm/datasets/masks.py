"""The masks of SimMIM and iBOT, for images that may be non-square."""

import math
from collections.abc import Sequence

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


@TRANSFORMS.register_module()
class IBOTMaskGenerator(BaseTransform):
    """Hide random rectangles of the two global views of iBOT.

    It adds the key ``mask``, (2, rows, columns) of the encoder's patches, 1 = hidden. The rectangles are those of BEiT,
    with sides in a ratio from 0.3 to 1 / 0.3. mmpretrain's ``BEiTMaskGenerator`` never hides the last row and column.

    Args:
        input_size: Size of a global view in pixels, a number or (height, width).
        model_patch_size: Side of an encoder's patch in pixels. It divides ``input_size``.
        mask_ratios: Ranges (least, most) of the share of hidden patches. For each view, one range is drawn, then a
            share inside it. A mask may hide less than its share, when no further rectangle fits.

    Raises:
        UserError: ``model_patch_size`` does not divide ``input_size``, or a range is not inside [0, 1).

    Source: iBOT, arXiv 2111.07832, section 3; BEiT, arXiv 2106.08254, algorithm 1.
    """

    def __init__(
        self,
        input_size: int | tuple[int, int] = 224,
        model_patch_size: int = 16,
        mask_ratios: Sequence[tuple[float, float]] = ((0.0, 0.0), (0.1, 0.5)),
    ):
        height, width = to_2tuple(input_size)
        if height % model_patch_size or width % model_patch_size:
            raise UserError(
                f'model_patch_size divides input_size, but got model_patch_size={model_patch_size} and input_size='
                f'{input_size}.'
            )
        if not mask_ratios or not all(0 <= least <= most < 1 for least, most in mask_ratios):
            raise UserError(f'mask_ratios are ranges (least, most) inside [0, 1), but got {mask_ratios!r}.')
        self.grid = height // model_patch_size, width // model_patch_size
        self.mask_ratios = mask_ratios

    def transform(self, results: dict) -> dict:
        """Add ``mask`` to the results."""
        results['mask'] = np.stack([self.draw(), self.draw()])
        return results

    def draw(self) -> np.ndarray:
        """Draw one mask, (rows, columns)."""
        mask = np.zeros(self.grid, dtype=int)
        share = np.random.uniform(*self.mask_ratios[np.random.randint(len(self.mask_ratios))])
        while (left := share * mask.size - mask.sum()) > 0 and self._hide(mask, left):
            pass
        return mask

    def _hide(self, mask: np.ndarray, most: float) -> bool:
        """Hide a rectangle with at most ``most`` patches that were visible. Return False after ten failures."""
        rows, columns = mask.shape
        least = (min(rows, columns) // 3) ** 2
        for _ in range(10):
            area = least + (most - least) * np.random.random()
            aspect = 0.3 ** np.random.uniform(-1, 1)
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < rows and width < columns:
                top, left = np.random.randint(rows - height + 1), np.random.randint(columns - width + 1)
                block = mask[top : top + height, left : left + width]
                if 0 < block.size - block.sum() <= most:
                    block[:] = 1
                    return True
        return False
