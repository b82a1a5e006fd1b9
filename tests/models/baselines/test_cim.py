"""CIM's corruption and losses against formulas in NumPy."""

import numpy as np
import pytest
import torch
from helpers import cim, tiny
from mmpretrain.registry import MODELS

from aemim_mm.attacks import PixelSpace
from aemim_mm.errors import UserError
from aemim_mm.models.baselines.cim_heads import local_normalize
from aemim_mm.replay import recorded_calls

# mmpretrain's BEiT calls it the old way.
pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')


def corrupted(model, images, seed=0):
    torch.manual_seed(seed)
    return model.target_generator(images, model.generator, PixelSpace.of(model.data_preprocessor))


def losses_of(model, images, seed=0):
    """Return the losses of a batch, and its corruption."""
    torch.manual_seed(seed)
    with recorded_calls(model.target_generator) as calls:
        losses = model.loss(images, None)
    return losses, calls[0].output


def test_a_corruption_replaces_sampled_tokens_and_no_others():
    model = cim.build(cim.cim())
    images = cim.images(model, 8)
    with recorded_calls(model.generator) as calls:
        found = corrupted(model, images)
    places = calls[0].args[1]
    assert places.shape == (8, 9) and all(len(set(row.tolist())) == 9 for row in places)
    assert not torch.equal(places[0], places[1])
    tokenizer, space = model.target_generator.tokenizer, PixelSpace.of(model.data_preprocessor)
    pixels = torch.nn.functional.interpolate(space.denormalize(images), (16, 16), mode='bicubic', antialias=True)
    tokens = tokenizer.tokens(pixels.clamp(0, 255)).flatten(1)
    assert torch.equal(found.golden, tokens.gather(1, places)) and len(tokens.unique()) > 1
    hidden = torch.zeros(8, 16, dtype=torch.bool).scatter(1, places, True)
    replaced = found.replaced.flatten(1)
    assert replaced.any() and not replaced[~hidden].any() and not replaced[hidden].all()
    # The picture of the corrupted tokens, where only replaced tokens may change the original's.
    whole = tokenizer.pixels(tokens.view(8, 4, 4))
    drawn = torch.nn.functional.interpolate(whole, (64, 64), mode='bicubic', antialias=True).clamp(0, 255)
    apart = (space.denormalize(found.images) - drawn).abs().flatten(1).amax(1)
    assert torch.equal(apart > 1e-2, replaced.any(1))
    assert found.originals.equal(images) and found.target.equal(images)


def test_guesses_follow_the_distribution_of_the_generator():
    model = cim.build(cim.cim())
    with torch.no_grad():
        model.generator.predict.weight.zero_()
        model.generator.predict.bias.copy_(torch.linspace(-2, 1, 12))
        model.target_generator.mask_ratio = 1.0
    images = cim.images(model, 1).expand(500, -1, -1, -1)
    tokens = corrupted(model, images[:1]).golden
    expected = np.exp(np.linspace(-2, 1, 12)) / np.exp(np.linspace(-2, 1, 12)).sum()
    # A token stays the original one as often as the generator guesses it.
    stays = 1 - corrupted(model, images).replaced.float().mean(0).flatten().numpy()
    order = torch.empty(16, dtype=torch.long)
    with recorded_calls(model.generator) as calls:
        golden = corrupted(model, images[:1]).golden
    order[calls[0].args[1][0]] = golden[0]
    assert len(tokens.unique()) > 1
    deviation = np.sqrt(expected * (1 - expected) / 500)
    assert (np.abs(stays - expected[order.numpy()]) < 4.5 * deviation[order.numpy()]).all()


def test_the_generator_sees_no_hidden_pixel():
    model = cim.build(cim.cim(generator=dict(backbone=dict(drop_path_rate=0.0))))
    images = cim.images(model)
    places = torch.rand(4, 16).argsort(1)[:, :9]
    hidden = torch.zeros(4, 16).scatter(1, places, 1).view(4, 1, 4, 4)
    hidden = hidden.repeat_interleave(16, 2).repeat_interleave(16, 3)
    before = model.generator(images, places)
    assert torch.equal(before, model.generator(images + 3 * hidden, places))
    assert not torch.allclose(before, model.generator(images + 3 * (1 - hidden), places))


def test_the_generator_learns_from_hidden_tokens():
    model = cim.build(cim.cim())
    with recorded_calls(model.generator) as calls:
        losses, found = losses_of(model, cim.images(model))
    scores = calls[0].output.detach().double().numpy()
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(shares, found.golden.numpy()[..., None], 2)).mean()
    assert scores.shape == (4, 9, 12)
    assert losses['loss_generator'].item() == pytest.approx(expected, rel=1e-5)
    assert losses['replaced'] == found.replaced.float().mean()


@pytest.mark.parametrize('window', [3, 5, 33])
def test_pixels_are_normalised_by_the_window_around_them(window):
    images = (tiny.pixels(2, (12, 20)) - 120) / 60
    got = local_normalize(images, window)
    for image, result in zip(images.flatten(0, 1).numpy(), got.flatten(0, 1).numpy()):
        np.testing.assert_allclose(result, cim.local_normalize(image, window), atol=2e-3)
    flat = local_normalize(torch.full((1, 1, 8, 8), 0.7), window)
    assert flat.abs().max() < 1e-3


@pytest.mark.parametrize('criterion', ['l1', 'l2'])
def test_the_enhancer_recovers_all_pixels(criterion):
    model = cim.build(cim.cim(head=dict(criterion=criterion), enhancer_weight=2.0, backbone=dict(drop_path_rate=0.0)))
    images = cim.images(model)
    losses, found = losses_of(model, images)
    tokens = model.backbone(found.images)[0][:, 1:].detach().double().numpy()
    weight, bias = (value.detach().double().numpy() for value in model.head.predict.parameters())
    pred = tokens @ weight.T + bias
    errors = []
    for image, patches in zip(images, pred):
        target = np.stack([cim.local_normalize(channel.numpy(), 5) for channel in image])
        for number, patch in enumerate(patches):
            row, column = 16 * (number // 4), 16 * (number % 4)
            errors.append(patch.reshape(3, 16, 16) - target[:, row : row + 16, column : column + 16])
    errors = np.abs(errors) if criterion == 'l1' else np.square(errors)
    assert losses['loss_enhancer'].item() == pytest.approx(2 * errors.mean(), rel=1e-4)


def test_the_enhancer_tells_replaced_tokens():
    model = cim.build(cim.revdet(backbone=dict(drop_path_rate=0.0)))
    losses, found = losses_of(model, cim.images(model))
    tokens = model.backbone(found.images)[0][:, 1:].detach().double().numpy()
    weight, bias = (value.detach().double().numpy() for value in model.head.predict.parameters())
    share = 1 / (1 + np.exp(-(tokens @ weight.T + bias)[..., 0]))
    replaced = found.replaced.flatten(1).numpy()
    expected = -np.where(replaced, np.log(share), np.log(1 - share)).mean()
    assert losses['loss_enhancer'].item() == pytest.approx(10 * expected, rel=1e-5)


@pytest.mark.parametrize('make', [cim.cim, cim.revdet])
def test_each_network_learns_from_its_own_loss(make):
    model = cim.build(make(backbone=dict(drop_path_rate=0.0), generator=dict(backbone=dict(drop_path_rate=0.0))))
    before = tiny.snapshot(model.target_generator)
    losses, _ = losses_of(model, cim.images(model))
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert {name.split('.')[0] for name in parameters} == {'backbone', 'generator', 'head'}
    for loss, parts in (('loss_generator', {'generator'}), ('loss_enhancer', {'backbone', 'head'})):
        found = torch.autograd.grad(losses[loss], parameters.values(), allow_unused=True)
        for name, gradient in zip(parameters, found):
            assert (gradient is not None and gradient.abs().max() > 0) == (name.split('.')[0] in parts), (loss, name)
    tiny.assert_same_snapshot(tiny.snapshot(model.target_generator), before)
    assert not any(module.training for module in model.target_generator.modules())


def test_the_encoder_is_a_plain_vit():
    model = cim.build(cim.cim())
    stock = MODELS.build(dict(type='mmpretrain.VisionTransformer', **cim.VIT))
    stock.load_state_dict(model.backbone.state_dict(), strict=True)
    images = cim.images(model)
    model.eval(), stock.eval()
    assert torch.equal(model.extract_feat(images)[0], stock(images)[0])


def test_any_network_can_enhance():
    config = cim.cim()
    # Of stride 16.
    config['backbone'] = dict(
        type='ResNet', depth=18, stem_channels=4, base_channels=4, strides=(1, 2, 2, 1), out_indices=(3,)
    )
    model = cim.build(config)
    losses, _ = losses_of(model, cim.images(model))
    model.parse_losses(losses)[0].backward()
    assert model.backbone.conv1.weight.grad.abs().max() > 0


def test_a_generator_of_beit():
    model = cim.cim()
    model['generator']['backbone'] = dict(
        type='BEiTPretrainViT', arch=tiny.ARCH, img_size=64, patch_size=16, final_norm=True, out_type='raw',
        layer_scale_init_value=0.1,
    )  # fmt: skip
    model = cim.build(model)
    losses, _ = losses_of(model, cim.images(model))
    model.parse_losses(losses)[0].backward()
    assert model.generator.backbone.mask_token.grad.abs().max() > 0


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(enhancer_weight=-1), 'enhancer_weight is >= 0, but got -1'),
        (dict(generator=dict(vocab_size=8)), 'vocab_size is 12, as of the tokenizer, but got 8'),
        (dict(target_generator=dict(mask_ratio=0)), r'mask_ratio is in \(0, 1\], but got 0'),
        (dict(head=dict(window=4)), 'window is an odd number of pixels, 3 or more, but got 4'),
        (dict(head=dict(criterion='l3')), 'criterion'),
    ],
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(UserError, match=words):
        tiny.build(cim.cim(**changes))


def test_sizes_that_do_not_fit_are_refused():
    model = cim.build(cim.cim(backbone=dict(patch_size=8)))
    with pytest.raises(UserError, match='The encoder gives 64 tokens, but images have 16 patches'):
        model.head(model.backbone(cim.images(model))[0][:, 1:].transpose(1, 2).unflatten(2, (8, 8)), 16)
    model = cim.build(cim.cim(backbone=dict(img_size=32)))
    with pytest.raises(UserError, match='The encoder gives 5 tokens, but images have 16 patches'):
        model.head(model.backbone(cim.images(model)[..., :32, :32])[0], 16)
