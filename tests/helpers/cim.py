"""A tiny CIM for images of 64 pixels and 4x4 tokens, and its NumPy twins."""

import numpy as np
import torch

from aemim_mm.adapters import sync_adapters

from . import tiny

VIT = dict(out_type='raw', arch=tiny.ARCH, img_size=64, patch_size=16)
TOKENIZER = dict(type='VQTokenizer', channels=8, embed_dims=4, vocab_size=12, strides=(2, 2))
RESPIX = dict(type='ResPixHead', in_channels=32, patch_size=16, window=5)


def cim(**changes):
    """Return the config of CIM. Its tokenizer sees images of 16 pixels."""
    config = dict(
        type='CIM',
        data_preprocessor=dict(type='SelfSupDataPreprocessor', **tiny.NORMALIZE),
        backbone=dict(type='mmpretrain.VisionTransformer', **VIT, drop_path_rate=0.1),
        generator=dict(type='CIMGenerator', vocab_size=12, backbone=dict(type='SimMIMViT', **VIT, drop_path_rate=0.1)),
        target_generator=dict(type='Corrupter', tokenizer=TOKENIZER),
        head=RESPIX,
    )
    return tiny.merged(config, changes)


def revdet(**changes):
    """Return the config of CIM that tells which tokens are replaced."""
    config = cim(enhancer_weight=10.0)
    config['head'] = dict(type='RevDetHead', in_channels=32)
    return tiny.merged(config, changes)


def build(config, seed=0):
    """Build a model with noise on all weights, equal in both domains, so that no prediction is a constant."""
    model = tiny.build(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    sync_adapters(model)
    return model


def images(model, batch=4):
    """Return normalised images for a model, (B, 3, 64, 64)."""
    return tiny.images(model, batch, (64, 64))


def local_normalize(image, window):
    """Normalise each pixel of one channel (H, W) by the window around it, in NumPy."""
    result, reach = np.empty_like(image, dtype=np.float64), window // 2
    for row, column in np.ndindex(*image.shape):
        around = image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        around = around.astype(np.float64)
        result[row, column] = (image[row, column] - around.mean()) / np.sqrt(around.var() + 1e-6)
    return result
