"""The second view of an adversarial example, as a tokenizer sees it."""

import mmcv
import pytest
import torch
from helpers import hosts
from helpers.tiny import NORMALIZE
from mmpretrain.datasets.transforms import RandomResizedCropAndInterpolationWithTwoPic

from aemim_mm.errors import UserError
from aemim_mm.second_view import AdvTwoNormDataPreprocessor, resize


def preprocessor(norm=hosts.DALLE, **changes):
    return AdvTwoNormDataPreprocessor(**NORMALIZE, **norm, **changes)


def both_views(norm=hosts.DALLE, second_size=112, **changes):
    model = preprocessor(norm, **changes)
    views = hosts.crops(224, 4, second_size)
    return model, views, model(dict(inputs=views, data_samples=None), True)['inputs']


@pytest.mark.parametrize('how', ['lanczos', 'bicubic', 'bilinear', 'area', 'nearest'])
@pytest.mark.parametrize('size', [(112, 112), (96, 80), (300, 224)])
def test_a_resize_is_that_of_the_pipeline(size, how):
    image = hosts.crops(224, 1)[0].permute(1, 2, 0).numpy()
    expected = torch.from_numpy(mmcv.imresize(image, size[::-1], interpolation=how)).permute(2, 0, 1)
    got = resize(torch.from_numpy(image).permute(2, 0, 1)[None].float(), size, how)[0].clamp(0, 255)
    assert ((got - expected).abs() <= 1).float().mean() > 0.99


def test_the_interpolation_is_the_pipelines_default():
    transform = RandomResizedCropAndInterpolationWithTwoPic(size=224, second_size=112, interpolation='bicubic')
    assert transform.second_interpolation == preprocessor().second_interpolation == 'lanczos'


@pytest.mark.parametrize('norm', [hosts.DALLE, hosts.VQKD], ids=['DALL-E', 'VQ-KD'])
@pytest.mark.parametrize('second_size', [112, 224])
def test_the_second_view_gets_the_perturbation_at_its_size(norm, second_size):
    model, _, (first, second) = both_views(norm, second_size)
    assert torch.equal(model.second_view(first, second, first), second)
    delta = torch.randint(-8, 9, first.shape).float()
    got = model.second_view(first, second, first + delta / model.std)
    small = delta if second_size == 224 else resize(delta, (112, 112), 'lanczos')
    pixels = second * model.second_std + model.second_mean
    expected = (pixels + small).clamp(0, 255)
    torch.testing.assert_close(got * model.second_std + model.second_mean, expected, atol=1e-3, rtol=0)


def test_attacks_on_the_first_view_end_up_in_the_second():
    """Against the pipeline: resize the adversarial pixels, and take away what the resize of the clean pixels gives."""
    model, views, (first, second) = both_views(eps=8, start='uniform')
    x_adv = model.perturb(first, lambda x: (x * torch.randn_like(x)).sum())
    pixels = model.denormalize(x_adv).round().clamp(0, 255)
    got = model.second_view(first, second, model.normalize(pixels)) * model.second_std + model.second_mean
    for clean, adv, small, view in zip(views[0], pixels, got, views[1]):
        resized = [
            torch.from_numpy(mmcv.imresize(one.permute(1, 2, 0).byte().numpy(), (112, 112), interpolation='lanczos'))
            for one in (clean, adv)
        ]
        expected = (view + (resized[1].float() - resized[0].float()).permute(2, 0, 1)).clamp(0, 255)
        assert ((small - expected).abs() <= 1.5).float().mean() > 0.98


def test_views_without_normalisation():
    model = AdvTwoNormDataPreprocessor(**hosts.DALLE)
    views = [view.float() for view in hosts.crops(224, 2, 224)]
    assert model.second_view(*views, views[0] + 300).max() == 255


def test_an_unknown_interpolation_is_a_clear_error():
    with pytest.raises(UserError, match="Unknown second_interpolation 'sinc'. Known: area, bicubic, bilinear"):
        preprocessor(second_interpolation='sinc')
