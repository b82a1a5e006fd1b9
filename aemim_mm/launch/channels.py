"""Check that the images and the parts of a model have one number of channels."""

from collections.abc import Iterator, Sequence

from mmengine.config import Config

from ..datasets.loading import MODES
from ..datasets.of_config import datasets, kind_of
from ..errors import UserError

# Backbones that take in_channels, by default 3.
BACKBONES = ('AEMIMViT', 'MAEViT', 'VisionTransformer', 'SimMIMViT', 'SwinTransformer', 'SimMIMSwinTransformer')
SELF_SUPERVISED = ('AdvDataPreprocessor', 'BatchDataPreprocessor', 'SelfSupDataPreprocessor')


def check_channels(cfg: Config, loaders: Sequence[str]) -> None:
    """Check that a ViT or Swin, the decoder and head on it, the normalization and the images have equal channels.

    Torch would fail in the middle of the model, or repeat the channel of a grey image.

    Raises:
        UserError: Two numbers differ. The message names both fields.
    """
    backbone = (cfg.get('model') or {}).get('backbone') or {}
    if kind_of(backbone) not in BACKBONES:
        return
    count = (backbone.get('patch_cfg') or {}).get('in_channels', backbone.get('in_channels', 3))
    for field, found in _numbers(cfg, loaders):
        if found != count:
            raise UserError(
                f'model.backbone.in_channels is {count}, but {field}. All take 3, or all take 1 with '
                "color_type='grayscale' of LoadWholeImage, as in configs/aemim_vit-b_folder-grey.py; images of more "
                'channels cannot be loaded.'
            )


def _numbers(cfg: Config, loaders: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield what a part of the config says of channels, as words, and the number."""
    neck, head = (cfg.model.get(name) or {} for name in ('neck', 'head'))
    if kind_of(neck) in ('AEMIMDecoder', 'AEMIMCrossDecoder', 'MAEPretrainDecoder'):
        yield f'model.neck.in_chans is {neck.get("in_chans", 3)}', neck.get('in_chans', 3)
    if kind_of(neck) == 'SimMIMLinearDecoder':
        yield "model.neck, mmpretrain's SimMIMLinearDecoder, predicts 3 (SimMIMDecoder takes image_channels)", 3
    if kind_of(neck) == 'SimMIMDecoder':
        yield f'model.neck.image_channels is {neck.get("image_channels", 3)}', neck.get('image_channels', 3)
    if kind_of(head) in ('AEMIMHead', 'MAEPretrainHead'):
        yield f'model.head.in_channels is {head.get("in_channels", 3)}', head.get('in_channels', 3)
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    values = len(preprocessor.get('mean') or ())
    # One value is for all channels.
    if values > 1:
        yield f'data_preprocessor.mean has {values} values', values
    if kind_of(preprocessor) in SELF_SUPERVISED and preprocessor.get('to_rgb'):
        yield 'data_preprocessor.to_rgb swaps 3 (for grey images, set it to False)', 3
    for name in loaders:
        for dataset in datasets(cfg, (name,)):
            for step in dataset.get('pipeline') or ():
                mode = MODES.get(step.get('color_type', 'color')) if kind_of(step) == 'LoadWholeImage' else None
                if mode:
                    yield f'{name} loads {len(mode)}', len(mode)
