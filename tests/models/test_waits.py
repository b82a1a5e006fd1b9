"""A training step makes the host wait for the device once, for the check of the losses."""

import pytest
import torch
from helpers import tiny
from helpers.copies import Waits

from aemim_mm import AdvDataPreprocessor


@pytest.mark.parametrize('changes', [{}, dict(attack_mask='none'), dict(attack_mask='resampled', adv_share=0.5)])
@pytest.mark.parametrize('config', [tiny.aemim, tiny.aesimmim_vit])
def test_a_step_waits_once(config, changes):
    model = tiny.build(config(**changes))
    samples = tiny.mask_samples(grid=(4, 4))
    images = tiny.images(model)
    model.loss(images, samples)  # The first step also checks sizes.
    with Waits() as waits:
        losses = model.loss(images, samples)
    assert waits.calls == ['__bool__']
    assert torch.isfinite(losses['loss_adv'])


@pytest.mark.parametrize('normalize', [tiny.NORMALIZE, {}])
def test_the_attack_waits_for_nothing(normalize):
    preprocessor = AdvDataPreprocessor(**normalize)
    images = preprocessor(dict(inputs=tiny.pixels(), data_samples=None))['inputs']
    with Waits() as waits:
        preprocessor.perturb(images, lambda x: x.square().sum())
    assert waits.calls == []
