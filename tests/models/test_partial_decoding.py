"""A decoder that predicts a share of the hidden patches equals a slow one that decodes them under an attention mask."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aemim_mm import Domain, use_domain
from aemim_mm.attacks import PGD
from aemim_mm.errors import UserError
from aemim_mm.models.partial_decoding import DecodedPatches
from aemim_mm.replay import recorded_calls
from aemim_mm.robustness.encoder_attacks import reconstruction_attack
from aemim_mm.visualization.reconstruction import reconstruct


def shuffled(batch, length, seed=0):
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)).argsort(1).argsort(1)


def by_loop(ids_restore, visible, share, grid, pattern, reverse=False):
    """The chosen patches of one image, by Python's sort."""
    hidden = sorted((place, patch) for patch, place in enumerate(ids_restore.tolist()) if place >= visible)
    patches = [patch for _, patch in hidden][:: -1 if reverse else 1]
    if pattern == 'cells':
        seen, ranked = {}, []
        for number, patch in enumerate(patches):
            cell = patch // grid[1] // 2, patch % grid[1] // 2
            ranked.append((seen.get(cell, 0), number, patch))
            seen[cell] = seen.get(cell, 0) + 1
        patches = [patch for *_, patch in sorted(ranked)]
    return set(patches[: max(round(share * len(patches)), 1)])


@pytest.mark.parametrize('share', [0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize('pattern', ['random', 'cells'])
@pytest.mark.parametrize('grid', [(4, 4), (5, 3), (1, 7)])
def test_the_choice_equals_a_loop(share, pattern, grid):
    choose, ids_restore = DecodedPatches(share, grid, pattern, 'own'), shuffled(5, grid[0] * grid[1])
    for domain in Domain:
        with use_domain(choose, domain):
            chosen = choose(ids_restore, 3)
        for ids, image in zip(chosen.tolist(), ids_restore):
            assert len(ids) == len(set(ids))
            assert set(ids) == by_loop(image, 3, share, grid, pattern, reverse=domain is Domain.ADV)


@pytest.mark.parametrize('pattern', ['random', 'cells'])
def test_each_hidden_patch_is_chosen_equally_often_and_cells_are_even(pattern):
    choose, ids_restore = DecodedPatches(0.25, (8, 8), pattern), shuffled(4000, 64)
    chosen = torch.zeros(4000, 64).scatter(1, choose(ids_restore, 16), 1)
    np.testing.assert_allclose(chosen.mean(0), 12 / 64, atol=0.03)
    in_cell = F.avg_pool2d(chosen.view(-1, 1, 8, 8), 2) * 4
    assert (in_cell.max() <= 1) == (pattern == 'cells')


def test_own_patches_of_the_adversarial_pass_are_others():
    for pattern in ('random', 'cells'):
        own, same = (DecodedPatches(0.25, (8, 8), pattern, each) for each in ('own', 'same'))
        ids_restore = shuffled(20, 64)
        clean = own(ids_restore, 16)
        with use_domain(own, Domain.ADV), use_domain(same, Domain.ADV):
            differs = (own(ids_restore, 16)[:, :, None] != clean[:, None]).float().mean()
            assert torch.equal(same(ids_restore, 16), clean)
        assert differs > 0.995 if pattern == 'cells' else differs == 1


def slow_decoder(neck, latent, ids_restore, decoded):
    """Decode all patches in their places; attention is forbidden to hidden patches that are not decoded."""
    batch, length = ids_restore.shape
    visible = latent.shape[1] - 1
    tokens = torch.cat((neck.decoder_embed(latent), neck.mask_token.expand(batch, length - visible, -1)), 1)
    places = (1 + ids_restore)[..., None].expand(-1, -1, tokens.shape[-1])
    tokens = torch.cat((tokens[:, :1], tokens.gather(1, places)), 1) + neck.decoder_pos_embed
    allowed = (ids_restore < visible).scatter(1, decoded, True)
    allowed = F.pad(allowed, (1, 0), value=True)[:, None, None]
    for block in neck.decoder_blocks:
        heads = block.attn.num_heads
        query, key, value = block.attn.qkv(block.ln1(tokens)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        attended = weights.masked_fill(~allowed, -torch.inf).softmax(-1) @ value
        tokens = tokens + block.attn.proj(attended.transpose(1, 2).flatten(2))
        tokens = block.ffn(block.ln2(tokens), identity=tokens)
    return neck.decoder_pred(neck.ln1(tokens))[:, 1:]


@pytest.mark.parametrize('pattern', ['random', 'cells'])
@pytest.mark.parametrize(('share', 'depth'), [(0.25, 1), (0.25, 3), (0.5, 2)])
def test_loss_and_gradients_equal_decoding_all_with_restricted_attention(tiny, share, depth, pattern):
    neck = dict(type='AEMIMDecoder', img_size=32, decode_share=share, decoder_depth=depth, pattern=pattern)
    parts = dict(type='PartialMAE', backbone=dict(type='AEMIMViT', adapters=()), head=dict(type='AEMIMHead'))
    model = tiny.build(tiny.mae(**parts, neck=neck))
    images = tiny.images(model, 3)
    torch.manual_seed(3)
    loss = model.loss(images, None)['loss']

    torch.manual_seed(3)
    latent, mask, ids_restore = model.backbone(images)
    decoded = model.neck.decoded_patches(ids_restore, latent.shape[1] - 1)
    chosen = torch.zeros_like(mask).scatter(1, decoded, 1)
    assert (chosen <= mask).all() and (chosen.sum(1) == round(share * 12)).all()
    error = (slow_decoder(model.neck, latent, ids_restore, decoded) - model.head.construct_target(images)).square()
    slow = (error.mean(-1) * chosen).sum() / chosen.sum()
    torch.testing.assert_close(loss, slow, rtol=1e-6, atol=1e-6)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for got, expected in zip(torch.autograd.grad(loss, trained), torch.autograd.grad(slow, trained)):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def test_decoding_all_is_mae_bit_for_bit(tiny):
    parts = dict(backbone=dict(type='AEMIMViT', adapters=()), head=dict(type='AEMIMHead'))
    gradients = []
    for kind, neck in (('MAE', {}), ('PartialMAE', dict(decode_share=1.0, pattern='cells', adv_patches='own'))):
        model = tiny.build(tiny.mae(type=kind, **parts, neck=dict(type='AEMIMDecoder', img_size=32, **neck)))
        torch.manual_seed(1)
        loss = model.loss(tiny.images(model), None)['loss']
        loss.backward()
        gradients.append([loss, *(each.grad for each in model.parameters() if each.requires_grad), *model.state_dict()])
    for stock, ours in zip(*gradients):
        assert stock == ours if isinstance(stock, str) else torch.equal(stock, ours)


def partial_aemim(tiny, **neck):
    return tiny.build(tiny.aemim(neck=dict(decode_share=0.25, **neck)))


@pytest.mark.parametrize('adv_patches', ['same', 'own'])
def test_both_passes_of_aemim_decode_the_same_patches_unless_told_otherwise(tiny, adv_patches):
    model = partial_aemim(tiny, adv_patches=adv_patches)
    images, seen = tiny.images(model), []
    for _ in range(2):
        with recorded_calls(model.neck) as calls:
            losses = model.loss(images, None)
        clean, adv = (call.kwargs['decoded'] for call in calls)
        assert clean.shape == adv.shape == (4, 3) and torch.equal(clean, adv) == (adv_patches == 'same')
        assert all(call.output.shape == (4, 3, 192) for call in calls)
        seen.append(clean)
    assert not torch.equal(*seen)
    (losses['loss_clean'] + losses['loss_adv']).backward()
    assert all(each.grad is not None for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize('changes', [dict(adv_target='clean'), dict(adv_share=0.5), dict(early_backward=False)])
def test_equal_images_give_equal_losses(tiny, changes):
    """With eps 0, the target and the patches of both passes are the same; a share of the batch has masks of its own."""
    model = tiny.build(
        tiny.aemim(data_preprocessor=dict(eps=0), neck=dict(decode_share=0.5, pattern='cells'), **changes)
    )
    losses = model.loss(tiny.images(model), None)
    close = torch.allclose(losses['loss_clean'], losses['loss_adv'], rtol=1e-6)
    assert close == ('adv_share' not in changes)


def test_pictures_show_all_hidden_patches(tiny):
    model = partial_aemim(tiny)
    whole = tiny.matched(tiny.aemim(), model)
    images = tiny.images(model)
    for domain, pictures in reconstruct(model, images).items():
        torch.manual_seed(0)
        expected = reconstruct(whole, images)[domain].pred
        torch.manual_seed(0)
        assert torch.equal(reconstruct(model, images)[domain].pred, expected)
        assert pictures.pred.shape == images.shape
    assert model.neck.training


def test_the_robustness_tool_attacks_the_reconstruction_of_all_hidden_patches(tiny):
    model = partial_aemim(tiny)
    images, attack = tiny.images(model), PGD(4, steps=2)
    part, whole = (
        reconstruction_attack(each, images, None, attack) for each in (model, tiny.matched(tiny.aemim(), model))
    )
    assert torch.equal(part.x_adv, whole.x_adv) and (part.before, part.after) == (whole.before, whole.after)


@pytest.mark.parametrize(
    ('neck', 'message'),
    [
        (dict(decode_share=0), r'decode_share is in \(0, 1\], but got 0'),
        (dict(decode_share=True), 'but got True'),
        (dict(decode_share='half'), "but got 'half'"),
        (dict(pattern='cell'), 'pattern.*Known: cells, random'),
        (dict(adv_patches='other'), 'adv_patches'),
    ],
)
def test_bad_arguments_are_one_clear_error(tiny, neck, message):
    with pytest.raises(UserError, match=message):
        tiny.build(tiny.aemim(neck=neck))


def test_an_algorithm_that_decodes_all_patches_is_refused(tiny):
    model = tiny.build(tiny.mae(neck=dict(type='AEMIMDecoder', img_size=32, decode_share=0.5)))
    with pytest.raises(UserError, match="decode_share is 0.5.*Set model.type='PartialMAE' or 'AEMIM'"):
        model.loss(tiny.images(model), None)
