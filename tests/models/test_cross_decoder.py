"""CrossMAE's decoder, against a slow reference, in MAE and in AEMIM."""

import pytest
import torch

from aemim_mm.errors import UserError
from aemim_mm.visualization.reconstruction import reconstruct

NECK = dict(
    type='AEMIMCrossDecoder',
    img_size=32,
    patch_size=8,
    embed_dim=32,
    encoder_depth=2,
    decoder_embed_dim=24,
    decoder_depth=3,
    decoder_num_heads=2,
    mlp_ratio=2,
)


def cross_aemim(tiny, neck=(), **changes):
    config = tiny.aemim(**changes)
    return {**config, 'neck': {**NECK, **dict(neck)}}


def reference(neck, latent, before, ids):
    """Decode one patch after another, one head after another, with sums of the encoder's layers by a loop."""
    predictions, heads = torch.zeros(*ids.shape, neck.decoder_pred.out_features), 2
    layers = [*before, latent]
    for image, patches in enumerate(ids.tolist()):
        for number, patch in enumerate(patches):
            token = neck.mask_token[0, 0] + neck.decoder_pos_embed[0, 1 + patch]
            for depth, block in enumerate(neck.decoder_blocks):
                memory = sum(weight * layer[image] for weight, layer in zip(neck.layer_weights[depth], layers))
                query = block.query(block.ln1(token))
                key, value = block.key_value(block.ln_memory(memory)).chunk(2, -1)
                size, parts = len(query) // heads, []
                for head in range(heads):
                    mine = slice(head * size, (head + 1) * size)
                    weights = (key[:, mine] @ query[mine] / size**0.5).softmax(0)
                    parts.append(weights @ value[:, mine])
                token = token + block.proj(torch.cat(parts))
                token = token + block.ffn.layers(block.ln2(token))
            predictions[image, number] = neck.decoder_pred(neck.ln1(token))
    return predictions


def encoded(model, images):
    torch.manual_seed(4)
    latent, mask, ids_restore, before = model.backbone(images, with_layers=True)
    return latent, mask, ids_restore, before


def test_predictions_and_gradients_equal_a_loop_over_patches_and_heads(tiny):
    model = tiny.build(cross_aemim(tiny))
    latent, _, ids_restore, before = encoded(model, tiny.images(model, 2))
    ids = ids_restore.argsort(1)[:, -3:]
    got, expected = model.neck(latent, ids_restore, before, decoded=ids), reference(model.neck, latent, before, ids)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    named = model.neck.named_parameters()
    trained = [value for name, value in named if value.requires_grad and not name.endswith('_adv')]
    gradients = [torch.autograd.grad(out.square().sum(), trained, retain_graph=True) for out in (got, expected)]
    for ours, slow in zip(*gradients):
        torch.testing.assert_close(ours, slow, rtol=1e-3, atol=1e-5)


def test_the_encoder_gives_the_tokens_before_each_layer(tiny):
    model = tiny.build(tiny.aemim())
    latent, _, _, before = encoded(model, tiny.images(model))
    tokens = before[0]
    for layer, expected in zip(model.backbone.layers, before):
        assert torch.equal(tokens, expected)
        tokens = layer(tokens)
    assert torch.equal(model.backbone.norm1(tokens), latent) and len(before) == 2


def test_a_patch_is_predicted_alike_whatever_else_is_decoded(tiny):
    model = tiny.build(cross_aemim(tiny))
    latent, mask, ids_restore, before = encoded(model, tiny.images(model))
    whole = model.neck(latent, ids_restore, before)
    assert whole.shape == (4, 16, 192) and not whole[mask == 0].any() and whole[mask == 1].any(-1).all()
    ids = ids_restore.argsort(1)[:, 7:9]
    part = model.neck(latent, ids_restore, before, decoded=ids)
    torch.testing.assert_close(part, whole.gather(1, ids[..., None].expand(-1, -1, 192)), rtol=1e-5, atol=1e-6)


def test_the_sums_begin_with_the_variance_of_the_paper(tiny):
    neck = tiny.build(cross_aemim(tiny, dict(decoder_depth=50, encoder_depth=24))['neck'])
    assert neck.layer_weights.var().item() == pytest.approx(1 / 25, rel=0.1)
    assert neck.mask_token.std().item() == pytest.approx(0.02, rel=0.5)


@pytest.mark.parametrize('changes', [{}, dict(decoder='split_norm', adv_share=0.5), dict(early_backward=False)])
def test_aemim_trains_with_it(tiny, changes):
    model = tiny.build(cross_aemim(tiny, dict(decode_share=0.34), **changes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, losses = tiny.images(model), []
    for _ in range(8):
        torch.manual_seed(0)
        loss, logged = model.parse_losses(model.loss(images, None))
        optimizer.zero_grad()
        loss.backward()
        assert all(each.grad is not None for each in model.parameters() if each.requires_grad)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and logged['attack_gain'] > 1
    for pictures in reconstruct(model, images).values():
        assert pictures.pred.shape == images.shape


def test_equal_images_give_equal_losses_in_both_domains(tiny):
    model = tiny.build(cross_aemim(tiny, dict(decode_share=0.34), data_preprocessor=dict(eps=0)))
    losses = model.loss(tiny.images(model), None)
    torch.testing.assert_close(losses['loss_clean'], losses['loss_adv'])


def test_partial_mae_has_no_adversarial_weights(tiny):
    config = cross_aemim(tiny, type='PartialMAE', backbone=dict(adapters=()))
    config['data_preprocessor']['type'] = 'SelfSupDataPreprocessor'
    model = tiny.build(config)
    model.loss(tiny.images(model), None)['loss'].backward()
    assert not any(name.endswith('_adv') for name in model.state_dict())
    assert all(each.grad is not None for each in model.parameters() if each.requires_grad)


def test_an_algorithm_without_layers_is_refused(tiny):
    config = cross_aemim(tiny, type='MAE', backbone=dict(adapters=()))
    model = tiny.build(config)
    with pytest.raises(UserError, match="Set model.type='PartialMAE' or 'AEMIM'"):
        model.loss(tiny.images(model), None)


def test_stock_parts_that_do_not_work_beside_it_are_refused(tiny):
    config = cross_aemim(tiny, backbone=dict(type='MAEViT'))
    with pytest.raises(UserError, match="AEMIMCrossDecoder needs model.backbone.type='AEMIMViT', but got a MAEViT"):
        tiny.build(config)
    for config in (cross_aemim(tiny, dict(decode_share=0.5)), tiny.aemim(neck=dict(decode_share=0.5))):
        config['head']['type'] = 'MAEPretrainHead'
        with pytest.raises(UserError, match="needs model.head.type='AEMIMHead', but got a MAEPretrainHead"):
            tiny.build(config)


def test_stock_parts_that_work_beside_it(tiny):
    """The stock head takes predictions of all patches, and the stock encoder has no part in the choice of patches."""
    whole = cross_aemim(tiny, head=dict(type='MAEPretrainHead'))
    part = tiny.aemim(backbone=dict(type='MAEViT'), neck=dict(decode_share=0.5))
    for config in (whole, part):
        model = tiny.build(config)
        assert torch.isfinite(model.loss(tiny.images(model), None)['loss_adv'])


@pytest.mark.parametrize(
    ('neck', 'message'),
    [
        (dict(encoder_depth=3), 'model.neck.encoder_depth: got 3, but model.backbone has 2'),
        (dict(embed_dim=16), 'model.neck.embed_dim: got 16, but model.backbone has 32'),
        (dict(decoder_depth=0), 'set decoder_depth to 1 or more'),
        (dict(img_size=64), r'got \(8, 8\), but model.backbone has \(4, 4\)'),
    ],
)
def test_parts_that_do_not_fit_are_one_clear_error(tiny, neck, message):
    with pytest.raises(UserError, match=message):
        tiny.build(cross_aemim(tiny, neck))
