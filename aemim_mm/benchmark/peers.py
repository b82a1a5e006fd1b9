"""MAE with ViT-B/16 of other libraries, behind the interface of mmengine's models."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from mmengine.model import BaseModel
from torch import nn

from ..errors import UserError

IMAGE, PATCH, HIDDEN = 224, 16, 0.75


class _Peer(BaseModel):
    loss: Callable[[torch.Tensor], torch.Tensor]

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=self.loss(inputs))


class HuggingFace(_Peer):
    """``ViTMAEForPreTraining`` of transformers. Its default sizes are the sizes of ViT-B/16."""

    def __init__(self, data_preprocessor: nn.Module):
        super().__init__(data_preprocessor)
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        self.mae = ViTMAEForPreTraining(ViTMAEConfig(norm_pix_loss=True))

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        return self.mae(pixel_values=images).loss


class Lightly(_Peer):
    """MAE built from the modules of lightly and timm's ViT-B/16, as lightly's documentation describes."""

    def __init__(self, data_preprocessor: nn.Module):
        super().__init__(data_preprocessor)
        try:
            from lightly.models.modules import (  # pyright: ignore[reportMissingImports]
                MAEDecoderTIMM,
                MaskedVisionTransformerTIMM,
            )
        except ImportError as error:
            raise UserError(
                f'This version of lightly has no MAEDecoderTIMM: {error}. Install one that has it, such as 1.6.'
            ) from error
        from timm.models.vision_transformer import vit_base_patch16_224

        self.encoder = MaskedVisionTransformerTIMM(vit=vit_base_patch16_224())
        self.length = (IMAGE // PATCH) ** 2 + 1
        self.decoder = MAEDecoderTIMM(
            num_patches=self.length - 1,
            patch_size=PATCH,
            embed_dim=768,
            decoder_embed_dim=512,
            decoder_depth=8,
            decoder_num_heads=16,
            mlp_ratio=4.0,
            proj_drop_rate=0.0,
            attn_drop_rate=0.0,
        )

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        from lightly.models import utils  # pyright: ignore[reportMissingImports]

        keep, hidden = utils.random_token_mask((len(images), self.length), mask_ratio=HIDDEN, device=images.device)
        visible = self.decoder.embed(self.encoder.encode(images=images, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, (len(images), self.length))
        tokens = self.decoder.decode(utils.set_at_index(tokens, keep, visible.type_as(tokens)))
        pred = self.decoder.predict(utils.get_at_index(tokens, hidden))
        target = utils.get_at_index(utils.patchify(images, PATCH), hidden - 1)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        return torch.nn.functional.mse_loss(pred, target)


# The keys are names of packages.
PEERS = {'transformers': HuggingFace, 'lightly': Lightly}


def installed() -> list[str]:
    """Return the peers whose packages are installed."""
    return [name for name in PEERS if find_spec(name) and (name != 'lightly' or find_spec('timm'))]


def build(name: str, data_preprocessor: nn.Module) -> BaseModel:
    """Build the model of a peer.

    Args:
        name: A key of ``PEERS``.
        data_preprocessor: The data preprocessor of the model.

    Raises:
        UserError: The name is unknown, or a package is not installed.
    """
    if name not in PEERS:
        raise UserError(f'--peers takes {", ".join(PEERS)}, but got {name!r}.')
    if name not in installed():
        raise UserError(f'{name} is not installed. Install it with: pip install {name} timm')
    return PEERS[name](data_preprocessor)
