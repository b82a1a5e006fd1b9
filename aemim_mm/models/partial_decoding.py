"""Which hidden patches a decoder predicts, if it does not predict all of them."""

from numbers import Real

import torch
import torch.nn.functional as F

from ..domain import Domain, DomainModule
from ..errors import UserError, unknown_name

PATTERNS = ('random', 'cells')
ADV_PATCHES = ('same', 'own')
CELL = 2  # Patches along each side of a cell.


class DecodedPatches(DomainModule):
    """Choose a share of the hidden patches of each image, another one at each call.

    The choice uses the random order in which the mask was drawn, and no further random numbers. With the same mask, the
    choice is the same.

    Args:
        share: Share of the hidden patches, in (0, 1]. At least one patch is chosen.
        grid: Rows and columns of patches.
        pattern: ``random``, or ``cells``: each cell of 2 x 2 patches gives about the same number of patches.
        adv_patches: What is chosen in the ADV domain with the mask of the clean pass: the ``same`` patches, or its
            ``own``. Own patches differ from the clean ones as far as the share allows it.

    Raises:
        UserError: An unknown name, or a share out of its range.

    Source: partial reconstruction of CrossMAE, arXiv 2401.14391, section 3.3 (``random``); the running cells of
        VideoMAE V2, arXiv 2303.16727, section 3.2, which spread over the frames of a video, not over steps.
    """

    members: torch.Tensor

    def __init__(self, share: float, grid: tuple[int, int], pattern: str = 'random', adv_patches: str = 'same'):
        super().__init__()
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share <= 1:
            raise UserError(f'decode_share is in (0, 1], but got {share!r}.')
        if pattern not in PATTERNS:
            raise unknown_name('pattern', pattern, PATTERNS)
        if adv_patches not in ADV_PATCHES:
            raise unknown_name('adv_patches', adv_patches, ADV_PATCHES)
        self.share, self.grid, self.pattern, self.adv_patches = float(share), grid, pattern, adv_patches
        self.register_buffer('members', cell_members(grid), persistent=False)

    def check(self, ids_restore: torch.Tensor, decoded: torch.Tensor | None) -> None:
        """Check what a decoder was given.

        Args:
            ids_restore: As in :meth:`forward`.
            decoded: The ids to decode, or None for all.

        Raises:
            UserError: Another number of patches than ``grid``, or all patches in training where the share is below 1.
        """
        rows, columns = self.grid
        if ids_restore.shape[1] != rows * columns:
            raise UserError(
                f'The decoder was built for {rows}x{columns} patches, but the images have {ids_restore.shape[1]}. Set '
                'img_size of backbone and neck to the size that the pipeline gives.'
            )
        if decoded is None and self.training and self.share < 1:
            raise UserError(
                f'model.neck.decode_share is {self.share}, but this algorithm decodes all patches. Set model.type='
                "'PartialMAE' or 'AEMIM', or decode_share=1."
            )

    def forward(self, ids_restore: torch.Tensor, visible: int) -> torch.Tensor | None:
        """Choose patches.

        Args:
            ids_restore: Position of each patch among the shuffled patches, (B, L).
            visible: Number of visible patches, which come first among the shuffled ones.

        Returns:
            Ids of the chosen patches, (B, round(share * (L - visible))), each a hidden one. None stands for all hidden
            patches: with ``share=1``, and in eval mode.
        """
        if self.share == 1 or not self.training:
            return None
        length = ids_restore.shape[1]
        order = ids_restore - visible
        if self.domain is Domain.ADV and self.adv_patches == 'own':
            order = torch.where(order < 0, order, length - visible - 1 - order)
        if self.pattern == 'cells':
            # First comes the first hidden patch of each cell, then the second of each, and so on.
            in_cell = F.pad(order, (0, 1), value=-1)[:, self.members]
            earlier = (in_cell >= 0) & (in_cell < order.unsqueeze(-1))
            order = torch.where(order < 0, order, order + length * earlier.sum(-1))
        count = max(round(self.share * (length - visible)), 1)
        last = length * (1 + CELL**2)
        return torch.where(order < 0, last, order).topk(count, largest=False).indices


def cell_members(grid: tuple[int, int]) -> torch.Tensor:
    """List the patches in the cell of each patch, (L, 4). In cells that the grid cuts off, L stands for no patch."""
    rows, columns = grid
    length = rows * columns
    ids = F.pad(torch.arange(length).view(grid), (0, -columns % CELL, 0, -rows % CELL), value=length)
    cells = ids.unflatten(0, (-1, CELL)).unflatten(2, (-1, CELL)).transpose(1, 2).flatten(2)
    cell_of = torch.arange(rows)[:, None] // CELL, torch.arange(columns)[None] // CELL
    return cells[cell_of].flatten(0, 1)
