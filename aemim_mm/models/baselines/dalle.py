"""OpenAI's discrete VAE, the tokenizer of DALL-E, BEiT and CIM, with its decoder, which mmpretrain lacks."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.selfsup.cae import Conv2d
from mmpretrain.registry import MODELS
from torch import nn

from .tokenizer import Tokenizer

# The released networks see pixels of [0, 1] squeezed into [MARGIN, 1 - MARGIN].
MARGIN = 0.1


class DecoderBlock(nn.Module):
    """A residual block of four convolutions, whose names are those of the release.

    Args:
        before, after: Channels of input and output.
        gain: Factor of the residual path.
    """

    def __init__(self, before: int, after: int, gain: float):
        super().__init__()
        self.gain, hidden = gain, after // 4
        self.id_path = nn.Identity() if before == after else Conv2d(before, after, 1)
        layers = [(before, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, after, 3)]
        self.res_path = nn.Sequential(
            OrderedDict(
                (name, layer)
                for number, sizes in enumerate(layers, 1)
                for name, layer in ((f'relu_{number}', nn.ReLU()), (f'conv_{number}', Conv2d(*sizes)))
            )
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (B, before, h, w) to (B, after, h, w)."""
        return self.id_path(maps) + self.gain * self.res_path(maps)


@MODELS.register_module()
class DALLEDecoder(BaseModule):
    """The decoder of OpenAI's discrete VAE. Its default sizes, and its parameters' names, are those of the release.

    Args:
        n_init: Width of the first layer.
        n_hid: Width of the last group of blocks. The groups before are 2, 4 and 8 times as wide.
        n_blk_per_group: Number of blocks in each of the four groups.
        output_channels: Channels of an image.
        vocab_size: Number of tokens.
        init_cfg: As of mmengine's ``BaseModule``.

    Source: DALL-E, arXiv 2102.12092, appendix A; github.com/openai/DALL-E for sizes and names.
    """

    def __init__(
        self,
        n_init: int = 128,
        n_hid: int = 256,
        n_blk_per_group: int = 2,
        output_channels: int = 3,
        vocab_size: int = 8192,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg)
        self.output_channels = output_channels
        parts: OrderedDict[str, nn.Module] = OrderedDict(input=Conv2d(vocab_size, n_init, 1, use_float16=False))
        gain, width = 1 / (4 * n_blk_per_group) ** 2, n_init
        for group, factor in enumerate((8, 4, 2, 1), 1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for block in range(1, n_blk_per_group + 1):
                layers[f'block_{block}'] = DecoderBlock(width, factor * n_hid, gain)
                width = factor * n_hid
            if factor > 1:
                layers['upsample'] = nn.Upsample(scale_factor=2, mode='nearest')
            parts[f'group_{group}'] = nn.Sequential(layers)
        # The means of the channels, then the scales of a distribution around them.
        output: OrderedDict[str, nn.Module] = OrderedDict(relu=nn.ReLU(), conv=Conv2d(n_hid, 2 * output_channels, 1))
        self.blocks = nn.Sequential(OrderedDict(**parts, output=nn.Sequential(output)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute images, (B, C, 8 h, 8 w) in [0, 1], of tokens (B, h, w)."""
        first: Any = self.blocks.input
        # A 1x1 convolution of one-hot vectors looks up a column of its weights.
        maps = F.embedding(tokens, first.w[:, :, 0, 0].T).permute(0, 3, 1, 2) + first.b[:, None, None]
        for part in list(self.blocks.children())[1:]:
            maps = part(maps)
        means = maps[:, : self.output_channels].float().sigmoid()
        return ((means - MARGIN) / (1 - 2 * MARGIN)).clamp(0, 1)


@MODELS.register_module()
class DALLETokenizer(Tokenizer, BaseModule):
    """OpenAI's discrete VAE: mmpretrain's encoder, and the decoder.

    Args:
        encoder: Arguments of mmpretrain's ``DALL-E``, such as ``init_cfg``, which names its weights.
        decoder: Arguments of ``DALLEDecoder``.
        init_cfg: As of mmengine's ``BaseModule``.
    """

    stride = 8

    def __init__(self, encoder: dict | None = None, decoder: dict | None = None, init_cfg: dict | list | None = None):
        super().__init__(init_cfg)
        self.encoder = MODELS.build({'type': 'DALL-E', **(encoder or {})})
        self.decoder = MODELS.build({'type': 'DALLEDecoder', **(decoder or {})})
        self.vocab_size = len(self.encoder.blocks.output.conv.b)

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Tokenizer.tokens``."""
        return self.encoder((1 - 2 * MARGIN) * pixels / 255 + MARGIN).argmax(dim=1)

    def pixels(self, tokens: torch.Tensor) -> torch.Tensor:
        """See ``Tokenizer.pixels``."""
        return 255 * self.decoder(tokens)
