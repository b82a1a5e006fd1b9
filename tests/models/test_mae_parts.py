"""Decoder and head equal mmpretrain's, and work on non-square images and patches."""

import numpy as np
import pytest
import torch
from helpers import hosts
from mmpretrain.registry import MODELS

from aemim_mm.errors import UserError

SIZES = [((32, 32), 8, 3), ((32, 48), 8, 3), ((32, 48), (8, 16), 3), ((32, 48), (8, 16), 1), ((24, 8), (4, 8), 3)]


def head(tiny, kind='AEMIMHead', **changes):
    return MODELS.build(tiny.mae()['head'] | dict(type=kind) | changes)


def patches_by_loop(images, patch_size):
    height, width = patch_size if isinstance(patch_size, tuple) else (patch_size, patch_size)
    rows, columns = images.shape[2] // height, images.shape[3] // width
    return np.stack(
        [
            images[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width]
            .transpose(0, 2, 3, 1)
            .reshape(len(images), -1)
            for row in range(rows)
            for column in range(columns)
        ],
        1,
    )


@pytest.mark.parametrize(('size', 'patch_size', 'channels'), SIZES)
def test_patchify_equals_a_loop_and_unpatchify_inverts_it(tiny, size, patch_size, channels):
    images = torch.randn(2, channels, *size)
    ours = head(tiny, patch_size=patch_size, in_channels=channels)
    patches = ours.patchify(images)
    np.testing.assert_array_equal(patches, patches_by_loop(images.numpy(), patch_size))
    assert torch.equal(ours.unpatchify(patches, size), images)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_equals_the_stock_head_on_a_square(tiny, norm_pix):
    ours, stock = head(tiny, norm_pix=norm_pix), head(tiny, 'MAEPretrainHead', norm_pix=norm_pix)
    images, pred, mask = torch.randn(2, 3, 32, 32), torch.randn(2, 16, 192), (torch.rand(2, 16) > 0.3).float()
    assert torch.equal(ours.patchify(images), stock.patchify(images))
    assert torch.equal(ours.unpatchify(pred), stock.unpatchify(pred))
    assert torch.equal(ours.unpatchify(pred, (32, 32)), stock.unpatchify(pred))
    assert torch.equal(ours.loss(pred, images, mask), stock.loss(pred, images, mask))


@pytest.mark.parametrize('norm_pix', [True, False])
def test_unnormalize_inverts_construct_target(tiny, norm_pix):
    ours, images = head(tiny, norm_pix=norm_pix), torch.randn(2, 3, 32, 48) * 2 + 1
    pred = ours.unnormalize(ours.construct_target(images), images)
    torch.testing.assert_close(ours.unpatchify(pred, (32, 48)), images, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('predict_visible', [True, False])
@pytest.mark.parametrize('visible', [0, 4, 15])
@pytest.mark.parametrize('depth', [1, 2, 3])
def test_decoder_equals_the_stock_one_on_a_square(tiny, depth, visible, predict_visible):
    """Skipped work changes neither predictions nor gradients of parameters and inputs."""
    stock = tiny.build(tiny.mae(neck=dict(decoder_depth=depth))['neck'], seed=2)
    ours = tiny.build(tiny.aemim(neck=dict(decoder_depth=depth, predict_visible=predict_visible))['neck'], seed=2)
    latent = torch.randn(2, 1 + visible, 32, requires_grad=True)
    ids_restore, weight = torch.rand(2, 16).argsort(1), torch.randn(2, 16, 192)
    hidden = (ids_restore >= visible)[..., None]
    got, expected = ours(latent, ids_restore), stock(latent, ids_restore)
    if not predict_visible:
        assert not got.masked_select(~hidden).any()
        expected = expected * hidden
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    parts = {
        decoder: torch.autograd.grad((out * weight).sum(), [latent, *trained(decoder)])
        for decoder, out in ((ours, got), (stock, expected))
    }
    for got, expected in zip(parts[ours], parts[stock]):
        torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)


def trained(module):
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def test_a_decoder_without_layers(tiny):
    with pytest.raises(UserError, match='set decoder_depth to 1 or more'):
        tiny.build(tiny.aemim(neck=dict(decoder_depth=0))['neck'])


def test_decoder_has_the_positions_of_the_encoder(tiny):
    model = tiny.build(tiny.aemim_of_size((32, 48), (8, 16)))
    assert torch.equal(model.neck.decoder_pos_embed, model.backbone.pos_embed)
    assert not model.neck.decoder_pos_embed.requires_grad


def test_decoder_puts_tokens_back_in_their_places(tiny):
    """Without blocks, norm and positions, each visible token comes out at the place of its patch."""
    neck = tiny.build(tiny.aemim_of_size((32, 48), (8, 16), channels=1)['neck'])
    neck.predict_visible = True
    neck.ln1 = torch.nn.Identity()
    neck.decoder_embed, neck.decoder_pred = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        neck.decoder_pos_embed.zero_(), neck.mask_token.fill_(-1)
        for parameter in neck.decoder_blocks.parameters():  # The block then adds zero.
            parameter.zero_()
    shuffle = torch.rand(1, 12).argsort(1)
    tokens = shuffle[0, :5].float()[None, :, None].expand(1, 5, 32)
    out = neck(torch.cat([torch.full((1, 1, 32), 99.0), tokens], dim=1), shuffle.argsort(1))
    expected = [float(i) if i in shuffle[0, :5] else -1.0 for i in range(12)]
    assert out[0, :, 0].tolist() == expected


@pytest.mark.parametrize(('size', 'patch_size', 'channels'), SIZES)
def test_a_training_step_on_any_shape(tiny, size, patch_size, channels):
    model = tiny.build(tiny.aemim_of_size(size, patch_size, channels))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, losses = tiny.images(model, 4, size, channels), []
    for _ in range(6):
        torch.manual_seed(0)
        loss, _ = model.parse_losses(model.loss(images, None))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_images_of_another_size_are_a_clear_error_of_the_decoder(tiny):
    model = tiny.build(tiny.aemim())
    with pytest.raises(UserError, match='decoder was built for 4x4 patches, but the images have 24'):
        model.loss(tiny.images(model, 2, (32, 48)), None)


def test_the_decoder_of_hivit_gives_each_visible_patch_its_own_position():
    model = hosts.build(hosts.mae_hivit(neck=dict(type='HiViTDecoder')))
    x = torch.randn(2, 4, 32)
    ids_restore = torch.stack([torch.randperm(16) for _ in range(2)])
    seen = []
    model.neck.decoder_blocks[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    assert model.neck(x, ids_restore).shape == (2, 16, 768)
    tokens = torch.cat([model.neck.decoder_embed(x), model.neck.mask_token.expand(2, 12, -1)], dim=1)
    expected = tokens.gather(1, ids_restore[..., None].expand(-1, -1, 32)) + model.neck.decoder_pos_embed[:, 1:]
    torch.testing.assert_close(seen[0][:, 1:], expected)
