"""Masks of blocks equal SimMIM's, and pre-train on images that are no square. iBOT's masks are rectangles."""

import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import SimMIMMaskGenerator
from mmpretrain.registry import TRANSFORMS

from aemim_mm.datasets import BlockMaskGenerator, IBOTMaskGenerator
from aemim_mm.errors import UserError

SIZES = dict(mask_patch_size=16, model_patch_size=4)


def seeded(transform):
    np.random.seed(3)
    return transform({})['mask']


@pytest.mark.parametrize('ratio', [0.1, 0.6, 0.74])
def test_equals_simmims_masks_on_square_images(ratio):
    sizes = dict(SIZES, input_size=64, mask_ratio=ratio)
    assert np.array_equal(seeded(BlockMaskGenerator(**sizes)), seeded(SimMIMMaskGenerator(**sizes)))


def test_a_step_on_images_that_are_no_square(tiny):
    """From the pipeline to the losses; sizes are (height, width) everywhere."""
    steps = [
        dict(type='RandomResizedCrop', scale=(32, 64)),
        dict(type='BlockMaskGenerator', input_size=(32, 64), mask_patch_size=16, model_patch_size=8),
        dict(type='PackInputs'),
    ]
    item = dict(img=np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    for step in steps:
        item = TRANSFORMS.build({**step, '_scope_': 'mmpretrain'})(item)
    assert item['data_samples'].mask.shape == (4, 8) and item['data_samples'].mask.sum() == 5 * 4  # of 8 blocks
    config = tiny.aesimmim_vit()
    config['backbone']['img_size'] = (32, 64)
    model = tiny.build(config)
    data = model.data_preprocessor(dict(inputs=item['inputs'][None], data_samples=[item['data_samples']]), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert all(torch.isfinite(value) for value in losses.values()) and losses['attack_gain'] > 1


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(input_size=(64, 60)), r'input_size=\(64, 60\), mask_patch_size=16 and model_patch_size=4'),
        (dict(input_size=64, model_patch_size=5), 'model_patch_size divides mask_patch_size'),
        (dict(input_size=64, mask_ratio=0.99), 'one of the 16 blocks is hidden, .* mask_ratio=0.99 hides 16'),
        (dict(input_size=64, mask_ratio=0), 'mask_ratio=0 hides 0'),
    ],
)
def test_sizes_that_do_not_fit(fields, message):
    with pytest.raises(UserError, match=message):
        BlockMaskGenerator(**{**SIZES, **fields})


def test_masks_of_ibot_hide_their_share_in_half_of_the_views():
    np.random.seed(0)
    generator = IBOTMaskGenerator(input_size=(112, 224), model_patch_size=16)
    masks = np.stack([generator({})['mask'] for _ in range(400)])
    assert masks.shape == (400, 2, 7, 14) and set(np.unique(masks)) == {0, 1}
    shares = masks.mean((2, 3)).flatten()
    assert 0.45 < (shares == 0).mean() < 0.55
    shares = shares[shares > 0]
    # A mask reaches its share, uniform in 0.1 to 0.5, but for the last rectangles that do not fit.
    assert shares.max() <= 0.5 and abs(shares.mean() - 0.29) < 0.02 and (shares < 0.2).mean() > 0.2
    # The two views of an image have masks of their own, and no patch is always visible.
    assert 0.35 < (masks[:, 0].any((1, 2)) != masks[:, 1].any((1, 2))).mean() < 0.65
    assert masks.mean((0, 1)).min() > 0.01


def test_a_mask_of_ibot_with_one_rectangle():
    np.random.seed(1)
    generator = IBOTMaskGenerator(input_size=96, model_patch_size=16, mask_ratios=[(0.0, 0.4)])
    mask = np.zeros((6, 6), int)
    assert generator._hide(mask, 9.0)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    assert mask.sum() == len(rows) * len(columns) <= 9 and mask[np.ix_(rows, columns)].all()


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(input_size=30), 'model_patch_size=16 and input_size=30'),
        (dict(mask_ratios=[(0.5, 0.1)]), 'mask_ratios are ranges'),
        (dict(mask_ratios=[]), 'mask_ratios are ranges'),
        (dict(mask_ratios=[(0.5, 1.0)]), 'mask_ratios are ranges'),
    ],
)
def test_bad_masks_of_ibot(fields, message):
    with pytest.raises(UserError, match=message):
        IBOTMaskGenerator(**fields)
