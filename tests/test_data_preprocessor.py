"""The budget and the valid range, checked in pixels."""

import numpy as np
import pytest
import torch

from aemim_mm import AdvDataPreprocessor
from aemim_mm.errors import UserError

MEANS_STDS = [
    dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    dict(mean=[127.5] * 3, std=[127.5] * 3),
    dict(mean=[0.0, 10.0, 250.0], std=[1.0, 255.0, 20.0]),
    {},
]
GRAY = dict(mean=[73.0], std=[90.0])


def preprocessed(tiny, preprocessor, channels=3):
    pixels = tiny.pixels(channels=channels)
    return pixels, preprocessor(dict(inputs=pixels, data_samples=None))['inputs']


def objective_of(shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return lambda images: (images * weights).sum()


@pytest.mark.parametrize('normalize', [*MEANS_STDS, GRAY])
def test_normalize_equals_forward_and_denormalize_inverts_it(tiny, normalize):
    preprocessor = AdvDataPreprocessor(**normalize)
    pixels, inputs = preprocessed(tiny, preprocessor, channels=len(normalize.get('mean', 'rgb')))
    torch.testing.assert_close(preprocessor.normalize(pixels), inputs)
    torch.testing.assert_close(preprocessor.denormalize(inputs), pixels, atol=1e-3, rtol=0)


@pytest.mark.parametrize('normalize', [*MEANS_STDS, GRAY])
@pytest.mark.parametrize('start', ['uniform', 'gaussian', 'zero'])
@pytest.mark.parametrize('eps', [0.5, 2, 8])
def test_every_channel_stays_within_eps_pixels_and_the_valid_range(tiny, normalize, start, eps):
    preprocessor = AdvDataPreprocessor(eps=eps, steps=3, start=start, **normalize)
    pixels, inputs = preprocessed(tiny, preprocessor, channels=len(normalize.get('mean', 'rgb')))
    x_adv = preprocessor.denormalize(preprocessor.perturb(inputs, objective_of(inputs.shape)))
    most = (x_adv - pixels).abs().amax(dim=(0, 2, 3))
    assert (most <= eps + 1e-3).all() and (most >= 0.9 * eps).all()
    assert x_adv.min() >= -1e-3 and x_adv.max() <= 255 + 1e-3


def test_equals_pgd_in_pixels(tiny):
    """NumPy, in pixels, on a linear objective: x + eps * sign, clipped."""
    preprocessor = AdvDataPreprocessor(eps=4, steps=2, start='zero', **MEANS_STDS[0])
    pixels, inputs = preprocessed(tiny, preprocessor)
    weights = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(1))
    x_adv = preprocessor.denormalize(preprocessor.perturb(inputs, lambda images: (images * weights).sum()))
    expected = np.clip(pixels.numpy() + 4 * np.sign(weights.numpy()), 0, 255)
    np.testing.assert_allclose(x_adv, expected, atol=1e-3)


def test_a_narrower_valid_range_holds(tiny):
    preprocessor = AdvDataPreprocessor(eps=8, pixel_range=(16.0, 235.0), **MEANS_STDS[0])
    inputs = preprocessor.normalize(tiny.pixels().clamp(16, 235))
    x_adv = preprocessor.denormalize(preprocessor.perturb(inputs, objective_of(inputs.shape)))
    assert x_adv.min() >= 16 - 1e-3 and x_adv.max() <= 235 + 1e-3


@pytest.mark.parametrize('budget', [dict(eps=0), dict(steps=0, start='zero'), dict(eps=0, steps=0)])
def test_no_budget_returns_the_input(tiny, budget):
    preprocessor = AdvDataPreprocessor(**budget, **MEANS_STDS[0])
    _, inputs = preprocessed(tiny, preprocessor)

    def objective(_images):
        raise AssertionError('no gradient is needed')

    assert torch.equal(preprocessor.perturb(inputs, objective), inputs)


def test_no_steps_from_a_uniform_start_is_noise_in_the_ball():
    preprocessor = AdvDataPreprocessor(steps=0, eps=2, **MEANS_STDS[0])
    pixels = torch.full((8, 3, 32, 32), 100.0)
    torch.manual_seed(0)
    delta = preprocessor.denormalize(preprocessor.perturb(preprocessor.normalize(pixels), None)) - pixels
    counts, _ = np.histogram(delta.numpy(), bins=8, range=(-2, 2))
    assert counts.sum() == delta.numel()
    np.testing.assert_allclose(counts / delta.numel(), 1 / 8, atol=0.01)


@pytest.mark.parametrize(
    ('steps', 'step_size', 'expected'), [(2, None, 1.0), (4, None, 0.5), (0, None, 2.0), (2, 1.5, 1.5)]
)
def test_the_step_size_is_eps_over_steps_unless_given(steps, step_size, expected):
    assert AdvDataPreprocessor(eps=2, steps=steps, step_size=step_size).step_size == expected


def test_one_step_moves_by_the_step_size_in_pixels():
    preprocessor = AdvDataPreprocessor(eps=8, steps=1, step_size=3, start='zero', **MEANS_STDS[0])
    pixels = torch.full((1, 3, 4, 4), 100.0)
    x_adv = preprocessor.perturb(preprocessor.normalize(pixels), lambda images: images.sum())
    torch.testing.assert_close(preprocessor.denormalize(x_adv), pixels + 3, atol=1e-3, rtol=0)


@pytest.mark.parametrize('eps', [-1, -0.1, 'a', '2', None, 300, float('nan'), float('inf')])
def test_a_bad_eps_is_a_clear_error(eps):
    with pytest.raises(UserError, match='eps is in pixels, 0-255, but got'):
        AdvDataPreprocessor(eps=eps)


@pytest.mark.parametrize('eps', [8 / 255, 0.0314, 0.1])
def test_an_eps_that_is_plainly_a_fraction_is_a_clear_error(eps):
    with pytest.raises(UserError, match='eps is in pixels.*For a fraction such as 8/255, pass 8'):
        AdvDataPreprocessor(eps=eps)


@pytest.mark.parametrize('steps', [-1, 1.5, '2', None])
def test_bad_steps_are_a_clear_error(steps):
    with pytest.raises(UserError, match='steps is a whole number >= 0'):
        AdvDataPreprocessor(steps=steps)


@pytest.mark.parametrize('step_size', [-1, 'a', 300])
def test_a_bad_step_size_is_a_clear_error(step_size):
    with pytest.raises(UserError, match='step_size is in pixels'):
        AdvDataPreprocessor(step_size=step_size)


def test_an_unknown_start_lists_the_known_ones():
    with pytest.raises(UserError, match="start 'random'. Known: gaussian, uniform, zero"):
        AdvDataPreprocessor(start='random')
