"""Noise augmentation is AEMIM whose second branch gets random noise of the attack's size."""

import torch
from helpers import runs, tiny
from mmengine.config import Config
from scipy.stats import kstest

from aemim_mm.replay import recorded_calls

NOISE, AEMIM = (
    Config.fromfile(runs.CONFIGS / name).to_dict() for name in ('baselines/noise_vit-b_800e.py', 'aemim_vit-b_800e.py')
)


def test_only_the_attack_differs_and_what_warns_of_it():
    expected = dict(AEMIM, data_preprocessor=dict(AEMIM['data_preprocessor'], steps=0, start='uniform'))
    *hooks, instruments = NOISE['custom_hooks']
    assert instruments.pop('thresholds') == dict(stale=None, small_budget=None)
    assert expected == dict(NOISE, custom_hooks=[*hooks, instruments])


def test_the_second_branch_gets_uniform_noise():
    settings = {key: NOISE['data_preprocessor'][key] for key in ('eps', 'steps', 'start')}
    model = tiny.build(tiny.aemim(data_preprocessor=settings))
    images = tiny.images(model, batch=16)
    torch.manual_seed(0)
    with recorded_calls(model.backbone) as calls:
        losses = model.loss(images, None)
    assert len(calls) == 2 and torch.equal(calls[0].output[1], calls[1].output[1])
    pixels, noisy = (model.data_preprocessor.denormalize(call.args[0]) for call in calls)
    noise = (noisy - pixels)[(pixels > 2) & (pixels < 253)]
    assert kstest(noise.numpy(), 'uniform', args=(-2, 4)).pvalue > 0.01
    assert losses['attack_start'] == losses['attack_end'] > 0
