"""Load a frozen encoder, with its preprocessing, from any checkpoint."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
import torch
from mmpretrain.models import SelfSupDataPreprocessor, SwinTransformer, VisionTransformer
from PIL import Image
from torch import nn

from ..datasets.loading import MODES, eight_bits, read_image
from ..errors import UserError, unknown_name
from ..export import EncoderSpec, read_source
from ..export.sizes import resize
from ..models.patches import patch_grid
from .model_index import weights_of_name

ImageLike = str | PathLike | Image.Image | np.ndarray

OUT_TYPES = {'vit': ('cls_token', 'avg_featmap', 'featmap', 'raw'), 'swin': ('avg_featmap', 'featmap')}


class Encoder(nn.Module):
    """A frozen encoder, as :func:`load_encoder` returns it.

    Attributes:
        backbone: mmpretrain's ``VisionTransformer`` or ``SwinTransformer``.
        embed_dims: Width of the features.
        patch_size: (height, width) in pixels.
        img_size: (height, width) in pixels of the images that :meth:`preprocess` returns. :meth:`forward` accepts other
            sizes and interpolates the positions.
        in_channels: Channels of an image.
        mean, std: Normalization by channel, in pixels 0-255; None if the checkpoint does not say.
        out_type: The kind of features, see :func:`load_encoder`.
        spec: The description of the encoder.

    Args:
        state: Tensors under our names.
        spec: The description of the encoder.
        out_type: As in :func:`load_encoder`.
    """

    def __init__(self, state: dict, spec: EncoderSpec, out_type: str | None = None):
        super().__init__()
        has_pooled_norm = 'backbone.ln2.weight' in state
        usual = 'avg_featmap' if has_pooled_norm or spec.kind == 'swin' else 'cls_token'
        out_type = out_type or usual
        if out_type not in OUT_TYPES[spec.kind]:
            raise unknown_name('out_type', out_type, OUT_TYPES[spec.kind])
        self.spec, self.out_type = spec, out_type
        self.patch_size, self.img_size, self.in_channels = spec.patch_size, spec.img_size, spec.in_channels
        self.mean, self.std = spec.mean, spec.std
        # An encoder fine-tuned on the mean over patches has a norm after the mean. Without it, take the mean here.
        self._takes_mean = out_type == 'avg_featmap' and not has_pooled_norm
        build = _build_vit if spec.kind == 'vit' else _build_swin
        self.backbone = build(state, spec, 'featmap' if self._takes_mean else out_type)
        self.embed_dims = spec.embed_dims * 2 ** max(len(spec.depths) - 1, 0)
        own = self.backbone.state_dict()
        given = {name.removeprefix('backbone.'): value for name, value in state.items()}
        computed = {name: value for name, value in own.items() if name.endswith('relative_position_index')}
        given = {name: value for name, value in given.items() if name in own}
        try:
            self.backbone.load_state_dict({**computed, **given}, strict=True)
        except RuntimeError as error:
            lines = '; '.join(line.strip() for line in str(error).splitlines()[1:3])
            raise UserError(f'The checkpoint holds no whole encoder: {lines} Take another one.') from error
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the features of normalized images.

        Args:
            images: (B, C, H, W), as :meth:`preprocess` returns them. H and W are multiples of the patch size.

        Returns:
            (B, D) for ``cls_token`` and ``avg_featmap``; (B, D, rows, columns) for ``featmap``;
            (B, 1 + rows * columns, D) for ``raw``.

        Raises:
            UserError: The images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise UserError(f'Expected images (B, {self.in_channels}, H, W), but got {tuple(images.shape)}.')
        patch_grid(images.shape[-2:], self.patch_size)
        features = self.backbone(images)[-1]
        return features.mean(dim=(2, 3)) if self._takes_mean else features

    @property
    def data_preprocessor(self) -> nn.Module:
        """The normalisation, as a module, which the functions of ``aemim_mm.robustness`` read."""
        return SelfSupDataPreprocessor(self.mean, self.std).to(next(self.parameters()).device)

    def preprocess(self, images: ImageLike | Iterable[ImageLike], crop_ratio: float = 0.875) -> torch.Tensor:
        """Resize, crop and normalize images.

        As in mmpretrain's evaluation, the short side is resized to ``img_size / crop_ratio`` (bicubic), and the centre
        is cropped. An image of the encoder's size is not resized. Grey and 16-bit images are converted as in training,
        see ``LoadWholeImage``. For an encoder of one channel, images are converted to grey.

        Args:
            images: A path, a PIL image, or a uint8 array (H, W, 3) of RGB or (H, W), 0-255; or a list of these.
            crop_ratio: In (0, 1].

        Returns:
            (B, C, H, W), on the encoder's device.

        Raises:
            UserError: An image cannot be read or is of another kind, or the normalization is unknown.
        """
        if self.mean is None:
            raise UserError(
                f'The checkpoint does not say how its images of {self.in_channels} channels were normalised. Set mean '
                'and std of the encoder, in pixels, 0-255.'
            )
        if not 0 < crop_ratio <= 1:
            raise UserError(f'crop_ratio is in (0, 1], but got {crop_ratio}.')
        if isinstance(images, torch.Tensor):
            raise UserError('preprocess takes paths, PIL images and arrays of uint8, not tensors. Call .numpy() first.')
        if isinstance(images, (str, PathLike, Image.Image, np.ndarray)) or not isinstance(images, Iterable):
            images = [images]
        arrays = [self.pixels(image, crop_ratio) for image in images]
        if not arrays:
            raise UserError('Expected images to preprocess, but got no image.')
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (self.mean, self.std))
        if not self.spec.to_rgb and self.in_channels == 3:
            pixels = pixels.flip(1)
        return ((pixels - mean) / std).to(next(self.parameters()).device)

    def pixels(self, image: ImageLike, crop_ratio: float = 0.875) -> np.ndarray:
        """Open an image, and resize and crop it as :meth:`preprocess` does: (H, W, C), uint8, RGB or grey."""
        if self.in_channels not in (1, 3):
            raise UserError(f'preprocess knows images of 1 and 3 channels, and this encoder takes {self.in_channels}.')
        image = _open(image, 'grayscale' if self.in_channels == 1 else 'color')
        height, width = self.img_size
        if image.size != (width, height):
            scale = max(width / image.width, height / image.height) / crop_ratio
            size = (max(round(image.width * scale), width), max(round(image.height * scale), height))
            image = image.resize(size, Image.Resampling.BICUBIC)
            left, top = (size[0] - width) // 2, (size[1] - height) // 2
            image = image.crop((left, top, left + width, top + height))
        array = np.array(image)
        return array if array.ndim == 3 else array[..., None]


def load_encoder(
    path_or_name: str | PathLike,
    *,
    domain: str = 'clean',
    img_size: int | tuple[int, int] | None = None,
    out_type: str | None = None,
    num_heads: int | None = None,
    device: str | torch.device = 'cpu',
    trusted: bool = False,
) -> Encoder:
    """Load a frozen encoder with its preprocessing.

    Example:
        >>> encoder = aemim_mm.load_encoder('work_dirs/aemim_vit-b_800e/epoch_800.pth')
        >>> features = encoder(encoder.preprocess(['cat.jpg', 'dog.jpg']))  # (2, 768)

    Args:
        path_or_name: A checkpoint (file or folder) of this project, mmpretrain, timm, facebookresearch/mae or Hugging
            Face; or the name of a model in configs/metafile.yml that has weights.
        domain: ``'clean'``, or ``'adv'`` for the adapters of the adversarial domain.
        img_size: Image size in pixels, a number or (height, width). Default: the size in training.
        out_type: Features after the final norm: ``'cls_token'``, ``'avg_featmap'`` (mean over patches), ``'featmap'``
            or ``'raw'`` (all tokens). Default: ``'avg_featmap'`` for Swin and for a ViT fine-tuned with it, otherwise
            ``'cls_token'``.
        num_heads: Number of attention heads, if the checkpoint does not say.
        device: The device of the encoder.
        trusted: Run code that a pickle contains. Set this only if you trust the file.

    Raises:
        UserError: The checkpoint or name does not exist, or the file has unknown names.
    """
    path = weights_of_name(str(path_or_name))
    source = read_source(path, domain=domain, num_heads=num_heads, trusted=trusted)
    resize(source.state, source.spec, img_size)
    return Encoder(source.state, source.spec, out_type).to(device)


def _build_vit(state: dict, spec: EncoderSpec, out_type: str) -> VisionTransformer:
    arch = dict(
        embed_dims=spec.embed_dims,
        num_layers=spec.num_layers,
        num_heads=spec.heads(),
        feedforward_channels=spec.feedforward_channels,
    )
    # mmpretrain annotates these arguments more narrowly than it uses them.
    sizes: dict[str, Any] = dict(arch=arch, img_size=spec.img_size, patch_size=spec.patch_size)
    return VisionTransformer(
        **sizes,
        in_channels=spec.in_channels,
        qkv_bias='backbone.layers.0.attn.qkv.bias' in state,
        norm_cfg=dict(type='LN', eps=spec.eps),
        final_norm='backbone.ln1.weight' in state,
        out_type=out_type,
    )


def _build_swin(state: dict, spec: EncoderSpec, out_type: str) -> SwinTransformer:
    arch = dict(embed_dims=spec.embed_dims, depths=list(spec.depths), num_heads=list(spec.stage_heads))
    sizes: dict[str, Any] = dict(arch=arch, img_size=spec.img_size)
    return SwinTransformer(
        **sizes,
        patch_size=spec.patch_size[0],
        in_channels=spec.in_channels,
        window_size=spec.window_size,
        drop_path_rate=0.0,
        pad_small_map=True,
        out_indices=(len(spec.depths) - 1,),
        norm_cfg=dict(type='LN', eps=spec.eps),
    )


def _open(image: ImageLike, color_type: str) -> Image.Image:
    """Return an image of any kind as 8-bit RGB or grey, as training reads it."""
    if isinstance(image, (str, PathLike)):
        return read_image(image, color_type)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))):
            raise UserError(
                f'Expected an array (H, W) or (H, W, 3) of uint8, 0-255, but got {image.shape} of {image.dtype}.'
            )
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    if not isinstance(image, Image.Image):
        raise UserError(f'preprocess takes paths, PIL images and arrays of uint8, but got {type(image).__name__}.')
    try:
        return eight_bits(image, MODES[color_type])
    except ValueError as error:
        raise UserError(f'Expected an image of 8 or 16 bits, but got {image}: {error}.') from error
