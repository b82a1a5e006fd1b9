"""The mixin works on any algorithm that calls its backbone with the images: MixMIM, as in docs/usage.md."""

import torch
from helpers import tiny
from mmpretrain.models import MixMIM

from aemim_mm.models import AdversarialMIM


class AEMixMIM(AdversarialMIM, MixMIM):
    prediction_layer = 'neck.decoder_pred'
    sample_fields = ()


def parts():
    return dict(
        backbone=dict(
            type='MixMIMPretrainTransformer',
            arch=dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4]),
            img_size=128,
            window_size=[8, 8, 8, 4],
            drop_rate=0.0,
            drop_path_rate=0.1,
        ),
        neck=dict(
            type='MixMIMPretrainDecoder',
            num_patches=16,
            encoder_stride=32,
            embed_dim=128,
            decoder_embed_dim=32,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        head=dict(type='MixMIMPretrainHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
    )


def test_mixmim_needs_one_line():
    torch.manual_seed(0)
    stock = MixMIM(**parts(), data_preprocessor=dict(tiny.NORMALIZE))
    stock.init_weights()
    model = AEMixMIM(**parts(), data_preprocessor=dict(type='AdvDataPreprocessor', **tiny.NORMALIZE))
    model.load_state_dict(stock.state_dict(), strict=True)
    stock.train(), model.train()
    images = tiny.images(model, batch=2, size=(128, 128))

    torch.manual_seed(1)
    expected = stock.loss(images, None)['loss']
    torch.manual_seed(1)
    losses = model.loss(images, None)
    assert torch.equal(losses['loss_clean'], expected)
    assert losses['attack_end'] > 1.5 * losses['attack_start']

    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
