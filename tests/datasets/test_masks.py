"""Masks of blocks equal SimMIM's, and pre-train on images that are no square."""

import numpy as np
import pytest
import torch
from mmpretrain.datasets.transforms import SimMIMMaskGenerator
from mmpretrain.registry import TRANSFORMS

from aemim_mm.datasets import BlockMaskGenerator
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
