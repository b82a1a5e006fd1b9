"""What CIM asks of a tokenizer, and a small one that is trained here."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine import dist
from mmengine.model import BaseModel
from mmpretrain.models.utils import NormEMAVectorQuantizer
from mmpretrain.models.utils.vector_quantizer import kmeans
from mmpretrain.registry import MODELS
from torch import nn


class Tokenizer(ABC):
    """A network that turns images into tokens, whole numbers on a grid, and tokens back into images.

    Attributes:
        stride: Height and width of a token, in pixels.
        vocab_size: Number of different tokens.
    """

    stride: int
    vocab_size: int

    @abstractmethod
    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the tokens, (B, h, w), of images (B, C, h * stride, w * stride) in pixels, 0-255."""

    @abstractmethod
    def pixels(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the images, (B, C, h * stride, w * stride) in pixels, 0-255, of tokens (B, h, w)."""


class Residual(nn.Sequential):
    """A residual block of two convolutions."""

    def __init__(self, channels: int):
        super().__init__(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        return maps + super().forward(maps)


@MODELS.register_module()
class VQTokenizer(Tokenizer, BaseModel):
    """A small VQ-VAE. It is trained by ``tools/train.py``, on pixels: its data preprocessor does not normalise.

    Convolutions map an image to vectors of length 1. A vector's token is the nearest of ``vocab_size`` codes, which
    follow the vectors as moving averages. They start as the centres of the first batch (k-means).

    Args:
        image_channels: Channels of an image.
        channels: Width of the hidden layers.
        embed_dims: Width of a code.
        vocab_size: Number of codes.
        strides: Stride of each stage. Their product is the tokenizer's stride.
        decay: Share of a code that stays at each step.
        commitment: Weight of the loss that pulls vectors towards their codes.
        data_preprocessor, init_cfg: As of mmengine's ``BaseModel``.

    Source: VQ-VAE, arXiv 1711.00937; codes of length 1, as in BEiT v2, arXiv 2208.06366.
    """

    def __init__(
        self,
        image_channels: int = 3,
        channels: int = 64,
        embed_dims: int = 16,
        vocab_size: int = 256,
        strides: Sequence[int] = (2, 2, 2),
        decay: float = 0.99,
        commitment: float = 0.25,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        self.vocab_size, self.stride = vocab_size, 1
        down, up, before = [], [], image_channels
        for stride in strides:
            self.stride *= stride
            down += [nn.Conv2d(before, channels, stride, stride), Residual(channels)]
            up = [Residual(channels), nn.ConvTranspose2d(channels, channels, stride, stride), *up]
            before = channels
        self.encoder = nn.Sequential(*down, nn.Conv2d(channels, embed_dims, 1))
        self.decoder = nn.Sequential(
            nn.Conv2d(embed_dims, channels, 1), *up, nn.ReLU(), nn.Conv2d(channels, image_channels, 3, padding=1)
        )
        self.quantizer: Any = NormEMAVectorQuantizer(vocab_size, embed_dims, commitment, decay, kmeans_init=False)
        self.quantizer.embedding.initted.zero_()

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Return tokens, or in mode ``loss`` the losses of a batch.

        Args:
            inputs: Images in pixels, 0-255, (B, C, H, W).
            data_samples: Not read.
            mode: ``tensor`` or ``loss``.
        """
        return self.loss(inputs) if mode == 'loss' else self.tokens(inputs)

    def loss(self, pixels: torch.Tensor) -> dict:
        """Compute the error of reconstructions and the distance to the codes, and move the codes.

        Args:
            pixels: Images in pixels, 0-255, (B, C, H, W).

        Returns:
            ``loss_pixels``, ``loss_commitment``, and ``perplexity``, the effective number of codes in use.
        """
        images = _scaled(pixels)
        vectors = self.encoder(images)
        self._start_codes(vectors)
        codes, commitment, ids = self.quantizer(vectors)
        shares = torch.bincount(ids, minlength=self.vocab_size) / len(ids)
        return dict(
            loss_pixels=F.mse_loss(self.decoder(codes), images),
            loss_commitment=commitment,
            perplexity=torch.special.entr(shares).sum().exp(),
        )

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Tokenizer.tokens``. No state changes, unlike in mmpretrain's quantizer."""
        vectors = F.normalize(self.encoder(_scaled(pixels)), dim=1)
        return torch.einsum('bdhw,kd->bkhw', vectors, self.quantizer.embedding.weight).argmax(dim=1)

    def pixels(self, tokens: torch.Tensor) -> torch.Tensor:
        """See ``Tokenizer.pixels``."""
        codes = self.quantizer.embedding(tokens).permute(0, 3, 1, 2)
        return ((self.decoder(codes) + 1) * 127.5).clamp(0, 255)

    @torch.no_grad()
    def _start_codes(self, vectors: torch.Tensor) -> None:
        """Set the codes of a new tokenizer: equal in all processes, which mmpretrain's own start is not."""
        embedding = self.quantizer.embedding
        if embedding.initted:
            return
        flat = F.normalize(vectors, dim=1).permute(0, 2, 3, 1).flatten(0, 2)
        centres, _ = kmeans(flat.float(), self.vocab_size, use_cosine_sim=True)
        dist.broadcast(centres)
        embedding.weight.copy_(centres)
        embedding.initted.fill_(1)


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 127.5 - 1
