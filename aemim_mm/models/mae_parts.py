"""MAE's decoder and head, for any image and patch size."""

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from mmpretrain.models import MAEPretrainDecoder, MAEPretrainHead
from mmpretrain.models.utils import to_2tuple
from mmpretrain.registry import MODELS
from torch import nn

from ..errors import UserError
from .layers import make_vit_layers
from .partial_decoding import DecodedPatches
from .patches import patch_grid, patchify, put_tokens, sincos_positions, take_tokens


@MODELS.register_module()
class AEMIMDecoder(MAEPretrainDecoder):
    """mmpretrain's ``MAEPretrainDecoder`` for a grid of patches that may be non-square.

    Args:
        img_size, patch_size: In pixels, a number or (height, width). They replace ``num_patches``.
        in_chans: Number of channels of an image.
        predict_visible: Predict the visible patches too. MAE's loss does not use them, so by default they are zeros.
        decode_share: Share of the hidden patches that is decoded in training, in (0, 1]; the loss is taken over them.
            In eval mode, all are decoded. Only ``PartialMAE`` and ``AEMIM`` decode a part.
        pattern: Which patches: ``random`` or ``cells``; see ``DecodedPatches``.
        adv_patches: Which patches the adversarial pass decodes: the ``same`` or its ``own``; see ``DecodedPatches``.
        **kwargs: Arguments of ``MAEPretrainDecoder``.

    Raises:
        UserError: A decoder without layers, an unknown name, or a share out of its range.
    """

    encoder_options = MappingProxyType({})  # Further arguments of the encoder, whose further outputs come here.

    def __init__(
        self,
        *args,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        predict_visible: bool = False,
        decode_share: float = 1.0,
        pattern: str = 'random',
        adv_patches: str = 'same',
        **kwargs,
    ):
        self.grid = patch_grid(img_size, patch_size)
        height, width = to_2tuple(patch_size)
        kwargs = {
            **kwargs,
            'num_patches': self.grid[0] * self.grid[1],
            # The stock class would compute it for square patches.
            'predict_feature_dim': height * width * in_chans,
        }
        super().__init__(*args, **kwargs)
        self.predict_visible, self.embed_dim = predict_visible, self.decoder_embed.in_features
        self.decoded_patches = DecodedPatches(decode_share, self.grid, pattern, adv_patches)
        if not self.decoder_blocks:
            raise UserError('The decoder needs a layer: set decoder_depth to 1 or more.')
        make_vit_layers(self.decoder_blocks)

    def init_weights(self) -> None:
        """Initialise as MAE does, with positions that are right on non-square grids."""
        # Skips MAEPretrainDecoder.init_weights, which assumes a square grid.
        super(MAEPretrainDecoder, self).init_weights()
        self.decoder_pos_embed.data.copy_(sincos_positions(self.grid, self.decoder_pos_embed.shape[-1]))
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, x: torch.Tensor, ids_restore: torch.Tensor, decoded: torch.Tensor | None = None) -> torch.Tensor:
        """Predict patches from the tokens of the visible ones.

        Args:
            x: Tokens of the class and the visible patches, (B, 1 + L_visible, C).
            ids_restore: Position of each patch among the shuffled patches, (B, L).
            decoded: Ids of the hidden patches to decode, (B, K). Default: all.

        Returns:
            Predictions: of the patches ``decoded``, in their order, (B, K, p * p * 3); or of all, (B, L, p * p * 3).
            There, visible patches have zeros, unless ``predict_visible``.

        Raises:
            UserError: The images have another number of patches than the decoder was built for, or the algorithm trains
                on all patches where the decoder is to decode a part.
        """
        self.decoded_patches.check(ids_restore, decoded)
        layers = self.decoder_blocks, self.decoder_norm, self.decoder_pred
        return self.decode(layers, x, ids_restore, decoded, self.predict_visible and decoded is None)

    def decode(
        self,
        layers: tuple[nn.ModuleList, nn.Module, Callable],
        x: torch.Tensor,
        ids_restore: torch.Tensor,
        decoded: torch.Tensor | None = None,
        predict_visible: bool = False,
    ) -> torch.Tensor:
        """Predict by any layers, as :meth:`forward` does by the decoder's own.

        Args:
            layers: Blocks (a list of ``ViTLayer``), normalisation, and projection to D values.
            x, ids_restore, decoded: As in :meth:`forward`.
            predict_visible: Predict the visible patches too.

        Returns:
            Predictions, (B, K, D) or (B, L, D), as in :meth:`forward`.
        """
        blocks, norm, project = layers
        # Attention does not depend on the order of tokens, so visible tokens come first. Only the result is sorted.
        visible = x.shape[1] - 1
        ids_keep, ids_hidden = ids_restore.argsort(1).tensor_split((visible,), 1)
        if decoded is not None:
            ids_hidden = decoded
        cls_position, positions = self.decoder_pos_embed[0].tensor_split((1,))
        x = self.decoder_embed(x)
        x = x + torch.cat((cls_position.expand(len(x), 1, -1), F.embedding(ids_keep, positions)), 1)
        mask_tokens = self.mask_token[0] + positions
        for number, block in enumerate(blocks, 1):
            skip_outputs = 0 if predict_visible or number < len(blocks) else 1 + visible
            x = block(x, (mask_tokens, ids_hidden) if number == 1 else None, skip_outputs)
        pred = project(norm(x))
        if decoded is not None:
            return pred
        if predict_visible:
            return take_tokens(pred[:, 1:], ids_restore)
        return put_tokens(pred, ids_hidden, self.num_patches)


@MODELS.register_module()
class HiViTDecoder(MAEPretrainDecoder):
    """mmpretrain's ``MAEPretrainDecoder`` for an encoder without a class token.

    The stock decoder takes the first visible patch for one, so that each visible patch gets the position of the next.
    """

    def forward(self, x: torch.Tensor, ids_restore: torch.Tensor) -> torch.Tensor:
        """Predict all patches, (B, L, D).

        Args:
            x: Features of the visible patches, (B, L_visible, C).
            ids_restore: (B, L), where each patch is among the visible and hidden ones.
        """
        # Zeros in the place of the class token.
        return super().forward(torch.cat([torch.zeros_like(x[:, :1]), x], dim=1), ids_restore)


@MODELS.register_module()
class AEMIMHead(MAEPretrainHead):
    """mmpretrain's ``MAEPretrainHead`` for images and patches that may be non-square.

    Args:
        **kwargs: Arguments of ``MAEPretrainHead``. ``patch_size`` may be (height, width).
    """

    def loss(
        self, pred: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, decoded: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the reconstruction loss.

        Args:
            pred: Predictions of all patches, (B, L, p * p * C), or of the patches ``decoded``, (B, K, p * p * C).
            target: Normalised images, (B, C, H, W).
            mask: (B, L), 1 = hidden. The loss is the mean over hidden patches.
            decoded: Ids of the patches in ``pred``, (B, K). Default: all.
        """
        if decoded is None:
            return super().loss(pred, target, mask)
        return self.loss_module(pred, take_tokens(self.construct_target(target), decoded), mask.gather(1, decoded))

    def patchify(self, imgs: torch.Tensor) -> torch.Tensor:
        """Cut images (B, C, H, W) into patches (B, L, p * p * C), in MAE's order: channels last."""
        patches = patchify(imgs, self.patch_size)
        return patches.unflatten(-1, (self.in_channels, -1)).transpose(-1, -2).flatten(-2)

    def unpatchify(self, x: torch.Tensor, img_size: Sequence[int] | None = None) -> torch.Tensor:
        """Invert :meth:`patchify`. Non-square images need ``img_size``, (height, width)."""
        if img_size is None:
            side = math.isqrt(x.shape[1])
            if side**2 != x.shape[1]:
                raise UserError(f'{x.shape[1]} patches are no square. Pass img_size=(height, width).')
            img_size = tuple(side * length for length in to_2tuple(self.patch_size))
        (rows, columns), (height, width) = patch_grid(img_size, self.patch_size), to_2tuple(self.patch_size)
        pixels = x.reshape(len(x), rows, columns, height, width, self.in_channels)
        return pixels.permute(0, 5, 1, 3, 2, 4).reshape(len(x), self.in_channels, rows * height, columns * width)

    def unnormalize(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Undo the normalisation of predicted patches.

        With ``norm_pix``, MAE predicts patches of mean 0 and deviation 1. This puts the mean and deviation of the true
        patches back, which the model did not predict: a picture made so must say so.

        Args:
            pred: Predictions, (B, L, p * p * C).
            target: Normalised images, (B, C, H, W).
        """
        if not self.norm_pix:
            return pred
        patches = self.patchify(target)
        return pred * (patches.var(dim=-1, keepdim=True) + 1e-6).sqrt() + patches.mean(dim=-1, keepdim=True)
