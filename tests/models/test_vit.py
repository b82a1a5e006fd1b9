"""The encoder equals MAEViT and VisionTransformer, and works on non-square images and patches."""

import math

import pytest
import torch
from mmpretrain.models.utils import resize_pos_embed
from torch.nn import functional as F

from aemim_mm.errors import UserError
from aemim_mm.models.patches import patch_grid, patchify, sincos_positions


def encoder(tiny, kind='AEMIMViT', seed=0, init=True, **changes):
    config = dict(type=kind, arch=tiny.ARCH, img_size=32, patch_size=8, **changes)
    return tiny.build(config, seed, init)


def rectangular(tiny, seed=0, **changes):
    """Build a model with 4 rows and 3 columns of patches."""
    return tiny.build(tiny.aemim_of_size((32, 48), (8, 16))['backbone'] | changes, seed)


@pytest.mark.parametrize('mask_ratio', [0.0, 0.3, 0.75])
@pytest.mark.parametrize('changes', [{}, dict(drop_rate=0.2, drop_path_rate=0.4)], ids=['plain', 'dropout'])
def test_masked_forward_equals_mae_vit(tiny, mask_ratio, changes):
    stock, ours = (encoder(tiny, kind, mask_ratio=mask_ratio, **changes) for kind in ('MAEViT', 'AEMIMViT'))
    x, positions, outputs = torch.randn(3, 3, 32, 32), torch.randn(1, 17, 32), []
    for model in (stock, ours):
        model.pos_embed.data.copy_(positions)  # The position of the class token is zero at first.
        torch.manual_seed(4)
        outputs.append(model(x))
    (latent, mask, ids_restore), (our_latent, our_mask, our_ids_restore) = outputs
    torch.testing.assert_close(our_latent, latent, atol=1e-5, rtol=0)
    assert torch.equal(our_mask, mask) and torch.equal(our_ids_restore, ids_restore)


@pytest.mark.parametrize('out_type', ['raw', 'cls_token', 'featmap', 'avg_featmap'])
@pytest.mark.parametrize('size', [(32, 32), (40, 24)])
def test_unmasked_forward_is_that_of_vision_transformer_bit_for_bit(tiny, out_type, size):
    ours, stock = encoder(tiny, out_type=out_type), encoder(tiny, 'VisionTransformer', seed=1, out_type=out_type)
    missing, _ = stock.load_state_dict(ours.state_dict(), strict=False)
    assert not missing
    x = torch.randn(2, 3, *size)
    for mask in (None, False):
        (got,), (expected,) = ours(x, mask=mask), stock(x)
        assert torch.equal(got, expected)


def test_only_visible_patches_matter(tiny):
    model, x = encoder(tiny), torch.randn(2, 3, 32, 32)
    torch.manual_seed(0)
    latent, mask, _ = model(x)
    assert latent.shape == (2, 1 + 4, 32) and mask.sum(1).tolist() == [12, 12]
    hidden = mask.view(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.manual_seed(0)
    assert torch.equal(model(x.masked_fill(hidden.bool(), float('nan')))[0], latent)


def positions_by_hand(rows, columns, channels):
    """Compute mmpretrain's positions: half of the channels for the row, half for the column, sines before cosines."""
    quarter = channels // 4
    out = torch.zeros(1 + rows * columns, channels)
    for row in range(rows):
        for column in range(columns):
            for i in range(quarter):
                rate = 1 / 10000 ** (i / quarter)
                values = [math.sin(row * rate), math.cos(row * rate), math.sin(column * rate), math.cos(column * rate)]
                for part, value in enumerate(values):
                    out[1 + row * columns + column, part * quarter + i] = value
    return out[None]


@pytest.mark.parametrize('grid', [(4, 4), (4, 3), (2, 7), (1, 5)])
def test_positions_equal_a_formula_by_hand(grid):
    torch.testing.assert_close(sincos_positions(grid, 16), positions_by_hand(*grid, 16), atol=1e-5, rtol=1e-5)


def test_positions_equal_upstream_s_on_a_square(tiny):
    assert torch.equal(encoder(tiny).pos_embed, encoder(tiny, 'MAEViT').pos_embed)


def test_a_rectangular_encoder_has_the_right_positions(tiny):
    model = rectangular(tiny)
    assert model.patch_resolution == (4, 3)
    torch.testing.assert_close(model.pos_embed.data, positions_by_hand(4, 3, 32), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('size', 'patch_size'), [((32, 32), 8), ((32, 48), (8, 16)), ((24, 8), (4, 8))])
@pytest.mark.parametrize('channels', [1, 3])
def test_embedding_patches_equals_the_convolution(tiny, size, patch_size, channels):
    x = torch.randn(2, channels, *size)
    weight = torch.randn(5, channels, *((patch_size,) * 2 if isinstance(patch_size, int) else patch_size))
    expected = F.conv2d(x, weight, stride=weight.shape[-2:]).flatten(2).transpose(1, 2)
    got = patchify(x, patch_size) @ weight.flatten(1).T
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def all_visible(model, x):
    """Run the masked forward with a mask that hides nothing; sort the tokens in the order of the image."""
    model.mask_ratio = 0.0
    latent, mask, ids_restore = model(x)
    assert not mask.any()
    ids = ids_restore.unsqueeze(-1).expand(-1, -1, latent.shape[-1])
    return torch.cat([latent[:, :1], latent[:, 1:].gather(1, ids)], dim=1)


@pytest.mark.parametrize('make', [encoder, rectangular])
@pytest.mark.parametrize('size', [(32, 48), (64, 96), (24, 16), (40, 80)])
def test_masked_and_unmasked_forward_agree_at_any_image_size(tiny, make, size):
    model, x = make(tiny), torch.randn(2, 3, *size)
    torch.testing.assert_close(all_visible(model, x), model(x, mask=None)[0], atol=1e-5, rtol=1e-4)


def test_positions_at_another_size_are_upstream_s_interpolation(tiny):
    model = rectangular(tiny, arch=dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=4))
    seen = []
    model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.mask_ratio = 0.0
    with torch.no_grad():
        model.patch_embed.projection.weight.zero_(), model.patch_embed.projection.bias.zero_(), model.cls_token.zero_()
    _, _, ids_restore = model(torch.randn(1, 3, 64, 64))
    expected = resize_pos_embed(model.pos_embed, (4, 3), (8, 4), 'bicubic')
    torch.testing.assert_close(seen[0][:, 1:][:, ids_restore[0]], expected[:, 1:])
    torch.testing.assert_close(seen[0][:, :1], expected[:, :1])


@pytest.mark.parametrize('size', [(30, 32), (32, 33), (7, 8)])
@pytest.mark.parametrize('mask', [True, None])
def test_an_image_that_is_no_whole_number_of_patches_is_a_clear_error(tiny, size, mask):
    with pytest.raises(UserError, match=f'{size[0]}x{size[1]} pixels is not a whole number of 8x8 patches'):
        encoder(tiny)(torch.randn(1, 3, *size), mask=mask)


@pytest.mark.parametrize('sizes', [dict(img_size=30), dict(img_size=(32, 36)), dict(patch_size=(8, 5))])
def test_so_is_such_a_size_in_a_config(tiny, sizes):
    with pytest.raises(UserError, match='is not a whole number of'):
        tiny.build(tiny.aemim()['backbone'] | sizes)


def test_patch_grid():
    assert patch_grid(224, 16) == (14, 14) and patch_grid((32, 48), (8, 16)) == (4, 3)


def test_a_checkpoint_of_another_square_size_is_interpolated(tiny):
    other = tiny.build(tiny.aemim()['backbone'] | dict(img_size=48), seed=3)
    for model, grid in ((encoder(tiny), (4, 4)), (rectangular(tiny, patch_size=8), (4, 6))):
        model.load_state_dict(other.state_dict(), strict=True)
        expected = resize_pos_embed(other.pos_embed, (6, 6), grid, 'bicubic')
        assert torch.equal(model.pos_embed, expected)
        assert torch.equal(model.ln1.weight, other.ln1.weight)


def test_a_checkpoint_of_an_unknown_grid_is_a_clear_error(tiny):
    state = rectangular(tiny).state_dict()
    with pytest.raises(UserError, match='pos_embed of the checkpoint holds 12 patches, which is no square.*4x4'):
        encoder(tiny).load_state_dict(state, strict=False)
    rectangular(tiny, seed=2).load_state_dict(state, strict=True)


def test_layer_depth_of_an_adversarial_adapter_is_that_of_the_clean_one(tiny):
    ours, stock = encoder(tiny), encoder(tiny, 'VisionTransformer')
    for name in ours.state_dict():
        expected = stock.get_layer_depth(f'backbone.{name.removesuffix("_adv")}', 'backbone.')
        assert ours.get_layer_depth(f'backbone.{name}', 'backbone.') == expected
    assert ours.get_layer_depth('backbone.cls_token_adv', 'backbone.')[0] == 0
