"""Sizes of SimMIM's images, masks and parts that do not fit each other are one line."""

import pytest
import torch
from mmpretrain.models import SimMIMLinearDecoder
from mmpretrain.structures import DataSample

from aemim_mm.errors import UserError
from aemim_mm.models import SimMIMDecoder


@pytest.mark.parametrize(
    ('kind', 'changes', 'masks', 'message'),
    [
        ('aesimmim', {}, dict(grid=(6, 6)), 'The masks have 6x6 tokens, but images of 32x32 pixels .* 4x4 have 8x8'),
        ('aesimmim_vit', {}, dict(grid=(8, 8)), 'The masks have 8x8 tokens, .* patches of 8x8 have 4x4. .* input_size'),
        ('aesimmim', dict(head=dict(patch_size=8)), {}, 'model.head.patch_size is 4, as of the backbone, but got 8.'),
        (
            'aesimmim',
            dict(neck=dict(encoder_stride=4)),
            {},
            'encoder_stride is 8, the stride of the .* got 4',
        ),
        ('aesimmim_vit', dict(neck=dict(encoder_stride=4)), dict(grid=(4, 4)), 'encoder_stride is 8, .* got 4'),
        ('aesimmim', {}, dict(ratio=0), 'A mask hides 0 to 0 of 64 patches. At least one .* change mask_ratio'),
        ('aesimmim', {}, dict(ratio=1), 'A mask hides 64 to 64 of 64 patches.'),
    ],
)
def test_simmim(tiny, kind, changes, masks, message):
    model = tiny.build(tiny.merged(getattr(tiny, kind)(), changes))
    with pytest.raises(UserError, match=message):
        model.loss(tiny.images(model), tiny.mask_samples(**masks))


def test_simmim_without_masks(tiny):
    model = tiny.build(tiny.aesimmim())
    for samples in (None, [DataSample() for _ in range(4)]):
        with pytest.raises(UserError, match='needs a mask for each image, but got none. Put BlockMaskGenerator'):
            model.loss(tiny.images(model), samples)


def test_simmim_on_images_that_are_no_square(tiny):
    size, config = (32, 64), tiny.aesimmim_vit()
    config['backbone']['img_size'] = size
    model = tiny.build(config)
    losses = model.loss(tiny.images(model, size=size), tiny.mask_samples(grid=(4, 8)))
    assert all(torch.isfinite(value) for value in losses.values()) and losses['loss_adv'] > 0


def test_simmim_on_grey_images(tiny):
    config, grey = tiny.aesimmim_vit(), dict(mean=[120.0], std=[60.0])
    config['backbone']['patch_cfg'] = dict(in_channels=1)
    config = tiny.merged(config, dict(data_preprocessor=grey, head=dict(loss=dict(channel=1))))
    config['neck'] = dict(type='SimMIMDecoder', in_channels=32, encoder_stride=8, image_channels=1)
    model, masks = tiny.build(config), tiny.mask_samples(grid=(4, 4))
    images = tiny.images(model)[:, :1]
    losses = model.loss(images, masks)
    mask = torch.stack([sample.mask for sample in masks])
    pred = model.neck(model.backbone(images, mask)[0])
    assert pred.shape == images.shape
    # The mean over hidden pixels, by hand.
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    torch.testing.assert_close(losses['loss_clean'], (hidden * (pred - images).abs()).sum() / hidden.sum())


def test_the_decoder_of_colour_images_is_mmpretrain_s():
    found = []
    for kind in (SimMIMDecoder, SimMIMLinearDecoder):
        torch.manual_seed(0)
        decoder = kind(in_channels=6, encoder_stride=4)
        found.append({name: value.shape for name, value in decoder.state_dict().items()})
        assert decoder(torch.ones(2, 6, 3, 3)).shape == (2, 3, 12, 12)
    assert found[0] == found[1]
    with pytest.raises(UserError, match='image_channels is a whole number'):
        SimMIMDecoder(6, 4, image_channels=0)


def test_a_patch_of_one_value_has_no_deviation(tiny):
    config = tiny.aemim_of_size(4, 1, channels=1)
    with pytest.raises(UserError, match='norm_pix needs patches of 2 values or more'):
        tiny.build(config)
    config['head']['norm_pix'] = False
    tiny.build(config)


def test_constant_patches_have_a_finite_loss(tiny):
    """With norm_pix, the target of a constant patch is zero."""
    model = tiny.build(tiny.aemim())
    losses = model.loss(torch.zeros(2, 3, 32, 32), None)
    assert all(torch.isfinite(value) for value in losses.values())
