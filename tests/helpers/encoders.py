"""Build small encoders with random weights, and save their checkpoints."""

import torch
from mmengine.config import Config

from helpers.tiny import mae, merged

ARCH = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)


def randomized(model, seed=0):
    """Add noise to every weight, so that weights that start at 0 or 1 have an effect, too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    model.eval()  # mmpretrain's backbones return nothing here.
    return model


def mae_config(kind='AEMIM', **changes):
    """Return the config of MAE or AEMIM: 3 heads of 16 channels in the encoder, 2 in the decoder; 32-pixel images."""
    ours = kind == 'AEMIM'
    config = dict(
        type=kind,
        data_preprocessor=dict(type='AdvDataPreprocessor' if ours else 'SelfSupDataPreprocessor', to_rgb=True),
        backbone=dict(type='AEMIMViT' if ours else 'MAEViT', arch=ARCH),
        neck=dict(type='AEMIMDecoder', img_size=32) if ours else {},
    )
    config['neck'].update(embed_dim=48, decoder_depth=2)
    return merged(mae(**config), changes)


def saved(model, config, path):
    """Save a checkpoint as mmengine writes it, with the config of the run. Return its path."""
    text = Config(dict(model=config)).pretty_text
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=text), optimizer=dict(state={})), path)
    return path


def features(model, images):
    """Return the tokens (B, 1 + L, C) of a pre-training model after the final norm, with all patches visible."""
    with torch.no_grad():
        return model.backbone(images, mask=None)[-1]


def assert_close(got, expected, atol=1e-5):
    """Compare features by two libraries, with the tolerance of this project."""
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)
