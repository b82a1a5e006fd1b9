"""ViTDet: a plain ViT as the backbone of a detector, with a simple feature pyramid. Source: arXiv 2203.16527."""

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

# Of a pre-trained encoder, but not of this one: no token stands for the image, and the pyramid has norms of its own.
UNUSED = ('cls_token', 'ln1.weight', 'ln1.bias')


class ViTDetLayer(TransformerEncoderLayer):
    """mmpretrain's layer with window attention; stochastic depth on the attention too, as in ViTDet; recomputation."""

    with_cp = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, C) to the same."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._forward, x, use_reentrant=False)
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
    """mmpretrain's ``ViTSAM`` as a detector's backbone: window attention, and a few layers that attend to all.

    It loads the encoders of AEMIM, MAE and other plain ViTs by their own names, with
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``: absolute positions are interpolated from
    (1, 1 + N, C), relative positions start at zero.

    Args:
        img_size: Pixels, a number or (height, width): the size that absolute and relative positions are made for. Other
            sizes work; positions are interpolated then.
        with_cp: Recompute activations in the backward pass: less memory, more time.
        **kwargs: Of ``ViTSAM``, such as ``arch``, ``patch_size``, ``window_size`` and ``drop_path_rate``. ``arch`` may
            be a dict, in which ``global_attn_indexes`` are the layers without windows.

    Raises:
        UserError: An image smaller than a patch; a checkpoint whose positions do not form a square.

    Source: Li et al., arXiv 2203.16527.
    """

    def __init__(self, *args, img_size=1024, with_cp=False, **kwargs):
        super().__init__(*args, img_size=img_size, out_channels=0, **kwargs)
        for layer in self.layers:
            # ViTSAM has no field for the class of its layers; this one has the same parameters.
            layer.__class__ = ViTDetLayer
            layer.with_cp = with_cp

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """Images (B, 3, H, W) to one feature map, (B, C, H / patch size, W / patch size)."""
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
        # Those of a plain ViT, (1, 1 + N, C), are those of an image and of its patches, row by row.
        if positions is not None and positions.ndim == 3:
            grid = checkpoint_grid(positions.shape[1] - 1, self.patch_resolution, f'{prefix}pos_embed')
            state_dict[f'{prefix}pos_embed'] = positions[:, 1:].unflatten(1, grid)
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Feature maps of several scales from the last one of a plain ViT, each made by itself.

    Strides are the backbone's times 1/4, 1/2, 1 and 2, which is 4, 8, 16 and 32 pixels for patches of 16. More maps
    than four come by max-pooling.

    Args:
        in_channels: Of the backbone.
        out_channels: Of each map.
        num_outs: Number of maps, >= 4. The fifth serves the RPN's largest anchors.
        norm_cfg: Of the convolutions that end each map.

    Source: Li et al., arXiv 2203.16527, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        norm_cfg=dict(type='mmpretrain.LN2d', eps=1e-6),  # noqa: B006  read only
        init_cfg=None,
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
        """One map (B, in_channels, H, W) to ``num_outs``, of (B, out_channels, 4H, 4W), (.., 2H, 2W), and so on.

        They are in float32, also under autocast: mmdet gives boxes the precision of the features, and that of bfloat16
        is 4 pixels at 1000.
        """
        (last,) = features
        maps = [output(scale(last)).float() for scale, output in zip(self.scales, self.outputs)]
        while len(maps) < self.num_outs:
            maps.append(F.max_pool2d(maps[-1], 1, stride=2))
        return tuple(maps)


def _double(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
