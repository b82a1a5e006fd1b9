"""How CIM corrupts images: a generator guesses hidden tokens, and a tokenizer draws them."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import nn

from ...attacks import PixelSpace
from ...errors import UserError
from ..patches import patch_grid, take_tokens


class Corruption(NamedTuple):
    """Corrupted images, and how they were made.

    Attributes:
        images: Corrupted images, normalised, (B, C, H, W).
        originals: The images before, detached.
        target: The images to recover.
        replaced: Where a token is not the original one, (B, h, w), bool.
        golden: The original tokens at the M hidden places, (B, M).
        errors: The generator's cross-entropy there, (B, M).
    """

    images: torch.Tensor
    originals: torch.Tensor
    target: torch.Tensor
    replaced: torch.Tensor
    golden: torch.Tensor
    errors: torch.Tensor


@MODELS.register_module()
class CIMGenerator(BaseModule):
    """The generator of CIM: a small ViT that sees an image with hidden patches and guesses their tokens.

    Args:
        backbone: A ViT that hides patches and returns all tokens: ``BEiTPretrainViT`` or ``SimMIMViT``, with
            ``out_type='raw'``.
        vocab_size: Number of tokens, as of the tokenizer.
    """

    def __init__(self, backbone: dict, vocab_size: int):
        super().__init__(dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0))
        self.backbone: Any = MODELS.build(backbone)
        self.predict = nn.Linear(self.backbone.embed_dims, vocab_size)

    def grid(self, images: torch.Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of images (B, C, H, W)."""
        return patch_grid(images.shape[-2:], self.backbone.patch_embed.projection.kernel_size)

    def forward(self, images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Hide patches and guess their tokens.

        Args:
            images: Normalised images, (B, C, H, W).
            places: Numbers of the patches to hide, (B, M).

        Returns:
            Scores of the tokens at these places, (B, M, vocab_size).
        """
        rows, columns = self.grid(images)
        mask = images.new_zeros(len(images), rows * columns).scatter(1, places, 1)
        tokens = self.backbone(images, mask.view(-1, rows, columns))[0]
        return self.predict(take_tokens(tokens[:, -rows * columns :], places))


@MODELS.register_module()
class Corrupter(BaseModule):
    """Replace random tokens of images by a generator's guesses.

    The image that the tokenizer sees, and makes, is resized, so that it has a token for each patch of the generator.

    Args:
        tokenizer: A ``Tokenizer``. It is frozen.
        mask_ratio: Share of tokens that the generator guesses, in (0, 1].

    Raises:
        UserError: A share out of its range.
    """

    def __init__(self, tokenizer: dict, mask_ratio: float = 0.56):
        super().__init__()
        if not 0 < mask_ratio <= 1:
            raise UserError(f'mask_ratio is in (0, 1], but got {mask_ratio!r}.')
        self.mask_ratio = mask_ratio
        self.tokenizer: Any = MODELS.build(tokenizer)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'Corrupter':
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, images: torch.Tensor, generator: CIMGenerator, space: PixelSpace) -> Corruption:
        """Corrupt images. Only the generator's errors have a gradient.

        Args:
            images: Normalised images, (B, C, H, W).
            generator: Guesses hidden tokens.
            space: The images' normalisation.
        """
        rows, columns = generator.grid(images)
        size = rows * self.tokenizer.stride, columns * self.tokenizer.stride
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            tokens = self.tokenizer.tokens(resized(space.denormalize(images), size))
        count = max(round(self.mask_ratio * rows * columns), 1)
        places = torch.rand(len(images), rows * columns, device=images.device).argsort(dim=1)[:, :count]
        scores = generator(images, places).flatten(0, 1).float()
        golden = tokens.flatten(1).gather(1, places)
        errors = F.cross_entropy(scores, golden.flatten(), reduction='none').view_as(golden)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            guesses = torch.multinomial(scores.softmax(dim=-1), 1).view_as(places)
            mixed = tokens.flatten(1).scatter(1, places, guesses).view_as(tokens)
            pixels = resized(self.tokenizer.pixels(mixed), images.shape[-2:])
            return Corruption(
                images=space.normalize(pixels),
                originals=images.detach(),
                target=images,
                replaced=mixed != tokens,
                golden=golden,
                errors=errors,
            )


def resized(pixels: torch.Tensor, size: tuple[int, ...] | torch.Size) -> torch.Tensor:
    """Resize images in pixels, 0-255, (B, C, H, W), to a height and width (bicubic)."""
    if pixels.shape[-2:] == torch.Size(size):
        return pixels
    return F.interpolate(pixels, size, mode='bicubic', antialias=True).clamp(0, 255)
