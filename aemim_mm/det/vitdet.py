"""ViTDet: a plain ViT as the backbone of a detector, and its simple feature pyramid.

Source: Li et al., arXiv 2203.16527.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmpretrain.models import ViTSAM
from mmpretrain.models.backbones.vit_sam import TransformerEncoderLayer, window_partition, window_unpartition
from mmpretrain.models.utils import LayerNorm2d
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError
from ..models.patches import checkpoint_grid

# Parameters of a pre-trained encoder that ViTDet lacks: it has no class token, and the pyramid has its own norms.
UNUSED = ('cls_token', 'ln1.weight', 'ln1.bias')


class ViTDetLayer(TransformerEncoderLayer):
    """mmpretrain's layer with window attention, plus two features.

    As in ViTDet, stochastic depth applies to the attention as well as to the MLP. With ``with_cp``, the activations are
    recomputed in the backward pass.
    """

    with_cp = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, H, W, C) to tokens of the same shape."""
        if self.with_cp and torch.is_grad_enabled():
            return cast(torch.Tensor, checkpoint(self._forward, x, use_reentrant=False))
        return self._forward(x)

    def _forward(self, x):
        attended = self.ln1(x)
        if self.window_size:
            grid = attended.shape[1:3]
            attended, padded = window_partition(attended, self.window_size)
            attended = window_unpartition(self.attn(attended), self.window_size, padded, grid)
        else:
            attended = self.attn(attended)
        x = x + self.ffn.dropout_layer(attended)
        return self.ffn(self.ln2(x), identity=x)


@MODELS.register_module()
class ViTDet(ViTSAM):
    """mmpretrain's ``ViTSAM`` as a detector's backbone, with window attention and a few layers of global attention.

    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`` loads the encoder of AEMIM, MAE or another
    plain ViT. Absolute positions (1, 1 + N, C) are interpolated. Relative positions start at zero.

    Args:
        img_size: In pixels, a number or (height, width): the size of the absolute and relative positions. For images of
            other sizes, positions are interpolated.
        with_cp: Recompute activations in the backward pass, which saves memory and takes more time.
        **kwargs: Arguments of ``ViTSAM``, such as ``arch``, ``patch_size``, ``window_size`` and ``drop_path_rate``. If
            ``arch`` is a dict, its ``global_attn_indexes`` lists the layers with global attention.

    Raises:
        UserError: An image is smaller than a patch, or the positions of a checkpoint do not form a square.

    Source: Li et al., arXiv 2203.16527.
    """

    patch_embed: Any
    patch_resolution: tuple[int, int]

    def __init__(self, *args, img_size: int | tuple[int, int] = 1024, with_cp: bool = False, **kwargs: Any):
        # mmpretrain annotates the size as int, but takes a pair too.
        kwargs.update(img_size=img_size)
        super().__init__(*args, out_channels=0, **kwargs)
        for layer in self.layers:
            # ViTSAM has no argument for the class of its layers. Both classes have the same parameters.
            layer.__class__ = ViTDetLayer
            assert isinstance(layer, ViTDetLayer)
            layer.with_cp = with_cp

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Map images (B, 3, H, W) to one feature map (B, C, H / patch size, W / patch size)."""
        patch = self.patch_embed.projection.kernel_size
        if x.shape[-2] < patch[0] or x.shape[-1] < patch[1]:
            raise UserError(
                f'An image of {x.shape[-2]}x{x.shape[-1]} pixels is smaller than a patch of {patch[0]}x{patch[1]}. '
                'Resize it in the pipeline, or set data_preprocessor.pad_size_divisor to the patch size.'
            )
        return super().forward(x)

    def _prepare_pos_embed(self, state_dict, prefix, *args, **kwargs):
        for name in [name for name in state_dict if name.startswith(prefix)]:
            if name.removeprefix(prefix) in UNUSED or name.endswith('_adv'):
                del state_dict[name]
        positions = state_dict.get(f'{prefix}pos_embed')
        # A plain ViT has (1, 1 + N, C): the class token, then the patches row by row.
        if positions is not None and positions.ndim == 3:
            grid = checkpoint_grid(positions.shape[1] - 1, self.patch_resolution, f'{prefix}pos_embed')
            state_dict[f'{prefix}pos_embed'] = positions[:, 1:].unflatten(1, grid)
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Compute feature maps of several scales, each directly from the last feature map of a plain ViT.

    The strides are 1/4, 1/2, 1 and 2 times the patch size: 4, 8, 16 and 32 pixels for patches of 16 pixels. Max-pooling
    makes the maps after the fourth.

    Args:
        in_channels: Channels of the backbone.
        out_channels: Channels of each map.
        num_outs: Number of maps, >= 4. The RPN uses the fifth map for its largest anchors.
        norm_cfg: The norm after each output convolution.

    Source: Li et al., arXiv 2203.16527, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        norm_cfg: dict = dict(type='mmpretrain.LN2d', eps=1e-6),  # noqa: B006  read only
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg)
        half, quarter = in_channels // 2, in_channels // 4
        self.num_outs = num_outs
        twice = nn.Sequential(
            _double(in_channels, half), LayerNorm2d(half, eps=1e-6), nn.GELU(), _double(half, quarter)
        )
        self.scales = nn.ModuleList([twice, _double(in_channels, half), nn.Identity(), nn.MaxPool2d(2)])
        self.outputs = nn.ModuleList(
            nn.Sequential(
                ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None),
                ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None),
            )
            for channels in (quarter, half, in_channels, in_channels)
        )

    def forward(self, features: tuple[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Map one feature map (B, in_channels, H, W) to ``num_outs`` maps.

        The maps are float32, also under autocast: mmdet computes boxes in the precision of the features, and bfloat16
        resolves only 4 pixels at 1000.

        Returns:
            (B, out_channels, 4H, 4W), (B, out_channels, 2H, 2W), (B, out_channels, H, W), and so on.
        """
        (last,) = features
        maps = [output(scale(last)).float() for scale, output in zip(self.scales, self.outputs)]
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], 1, stride=2))
        return tuple(maps)


def _double(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
