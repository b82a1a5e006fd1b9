"""The two tasks of CIM's enhancer: to recover the pixels of an image, or to tell which of its tokens are replaced."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn

from ...errors import UserError, unknown_name
from ..patches import patchify
from .corruption import Corruption

LOSSES = {'l1': F.l1_loss, 'l2': F.mse_loss}


def local_normalize(images: torch.Tensor, window: int) -> torch.Tensor:
    """Subtract from each pixel the mean of a window around it, and divide by the window's standard deviation.

    Args:
        images: (B, C, H, W). Channels are normalised one by one.
        window: Height and width of the window in pixels, odd. At the border, the part inside the image counts.
    """

    def mean(maps):
        return F.avg_pool2d(maps, window, stride=1, padding=window // 2, count_include_pad=False)

    deviations = images - mean(images)
    variance = mean(images.square()) - mean(images).square()
    return deviations / (variance.clamp(min=0) + 1e-6).sqrt()


class EnhancerHead(BaseModule):
    """A linear layer on the enhancer's patch tokens.

    Args:
        in_channels: Width of a token.
        out_channels: Number of predictions for a patch.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0))
        self.predict = nn.Linear(in_channels, out_channels)

    def forward(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """Predict for the last ``length`` tokens of (B, N, C), or for a map (B, C, h, w): (B, length, out_channels).

        Raises:
            UserError: There are fewer tokens, or the map has another size.
        """
        tokens = tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens[:, -length:]
        if tokens.shape[1] != length:
            raise UserError(
                f'The encoder gives {tokens.shape[1]} tokens, but images have {length} patches. Set the patch_size of '
                'the encoder, of the generator and of the head to the same, and out_type of the encoder to raw.'
            )
        return self.predict(tokens)


@MODELS.register_module()
class ResPixHead(EnhancerHead):
    """Recover the pixels of the original image, all of them, normalised by a sliding window.

    Args:
        in_channels: Width of a token.
        patch_size: Height and width of a patch, in pixels.
        image_channels: Channels of an image.
        window: As of :func:`local_normalize`.
        criterion: ``l1`` or ``l2``.

    Raises:
        UserError: An unknown criterion, or an even window.

    Source: CIM, arXiv 2202.03382, abstract; the window's size and the criterion are ours.
    """

    def __init__(
        self, in_channels: int, patch_size: int = 16, image_channels: int = 3, window: int = 17, criterion: str = 'l2'
    ):
        if criterion not in LOSSES:
            raise unknown_name('criterion', criterion, LOSSES)
        if window < 3 or window % 2 == 0:
            raise UserError(f'window is an odd number of pixels, 3 or more, but got {window!r}.')
        super().__init__(in_channels, image_channels * patch_size**2)
        self.patch_size, self.window, self.criterion = patch_size, window, LOSSES[criterion]

    def loss(self, features: torch.Tensor, corruption: Corruption) -> torch.Tensor:
        """Compute the mean error of all pixels.

        Args:
            features: Tokens of corrupted images, (B, N, C), patches last; or a map, (B, C, h, w).
            corruption: Of these images.
        """
        target = patchify(local_normalize(corruption.target, self.window), self.patch_size)
        return self.criterion(self(features, target.shape[1]).float(), target)


@MODELS.register_module()
class RevDetHead(EnhancerHead):
    """Tell for each token whether it is replaced.

    Args:
        in_channels: Width of a token.

    Source: CIM, arXiv 2202.03382, abstract.
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels, 1)

    def loss(self, features: torch.Tensor, corruption: Corruption) -> torch.Tensor:
        """Compute the mean binary cross-entropy of all tokens; the arguments are those of :meth:`ResPixHead.loss`."""
        replaced = corruption.replaced.flatten(1)
        scores = self(features, replaced.shape[1]).squeeze(-1).float()
        return F.binary_cross_entropy_with_logits(scores, replaced.float())
