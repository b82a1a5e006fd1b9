"""The teacher of iBOT, a slow copy of the student, and what it says."""

from typing import NamedTuple

import torch
from torch import nn

from .ibot_head import IBOTHead
from .teacher import Teacher


class Targets(NamedTuple):
    """What the teacher says about global views, both views of B images in one batch.

    Attributes:
        cls: Scores of the class tokens, (2B, K).
        patches: Scores of the patches that are hidden from the student, (M, K), image by image.
        patch_mean: Mean of the scores of all patches, (K,).
    """

    cls: torch.Tensor
    patches: torch.Tensor
    patch_mean: torch.Tensor


class IBOTTeacher(Teacher):
    """A copy of encoder and head."""

    backbone: nn.Module
    head: IBOTHead

    @torch.no_grad()
    def forward(self, images: torch.Tensor, masks: torch.Tensor) -> Targets:
        """Compute the targets of whole images.

        Args:
            images: Normalised images, (2B, 3, H, W).
            masks: (2B, L), true = hidden from the student.
        """
        embedded = self.head.embed(self.backbone(images)[0])
        cls, patches = embedded[:, 0], embedded[:, 1:]
        # The last layer is linear: the mean score is the score of the mean.
        return Targets(*map(self.head.last_layer, (cls, patches[masks], patches.mean(dim=(0, 1)))))
