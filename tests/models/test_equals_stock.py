"""Our algorithms equal mmpretrain's with the same weights and the same seed."""

import pytest
import torch

NO_ATTACK = dict(data_preprocessor=dict(eps=0, start='zero'))


def seeded_loss(model, *args):
    torch.manual_seed(11)
    return model.loss(*args)


def pair(tiny, ours, stock):
    """Build both with equal weights, images and samples. SimMIM's mask has the grid of the backbone."""
    stock = tiny.build(stock)
    return stock, tiny.matched(ours, stock), tiny.images(stock), tiny.mask_samples()


DROP = dict(backbone=dict(drop_rate=0.1, drop_path_rate=0.3))


@pytest.mark.parametrize('changes', [{}, DROP], ids=['plain', 'dropout'])
@pytest.mark.parametrize(('ours', 'stock'), [('aemim', 'mae'), ('aesimmim', 'simmim')])
class TestLosses:
    def test_without_a_budget_both_losses_equal_the_stock_loss(self, tiny, ours, stock, changes):
        stock, model, *batch = pair(
            tiny, tiny.merged(getattr(tiny, ours)(**changes), NO_ATTACK), getattr(tiny, stock)(**changes)
        )
        expected, got = seeded_loss(stock, *batch)['loss'], seeded_loss(model, *batch)
        torch.testing.assert_close(got['loss_clean'], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(got['loss_adv'], expected, atol=1e-6, rtol=0)

    @pytest.mark.parametrize('attack_mask', ['same', 'resampled', 'none'])
    def test_an_attack_does_not_change_the_clean_loss(self, tiny, ours, stock, changes, attack_mask):
        config = getattr(tiny, ours)(attack_mask=attack_mask, **changes)
        stock, model, *batch = pair(tiny, config, getattr(tiny, stock)(**changes))
        tiny.part_domains(model)
        expected, got = seeded_loss(stock, *batch)['loss'], seeded_loss(model, *batch)
        torch.testing.assert_close(got['loss_clean'], expected, atol=1e-6, rtol=0)
        assert abs(got['loss_adv'] - expected) > 1e-3

    def test_the_adversarial_loss_is_the_stock_loss_of_the_adversarial_images_and_weights(
        self, tiny, ours, stock, changes
    ):
        stock, model, images, samples = pair(tiny, getattr(tiny, ours)(**changes), getattr(tiny, stock)(**changes))
        tiny.part_domains(model)
        torch.manual_seed(11)
        passes = model.two_passes(images, samples)
        state = model.state_dict()
        stock.load_state_dict({name: state.get(f'{name}_adv', state[name]) for name in stock.state_dict()})
        expected = seeded_loss(stock, passes.attack.x_adv, samples)['loss']
        torch.testing.assert_close(passes.adv.loss, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(('ours', 'stock'), [('aemim', 'mae'), ('aesimmim', 'simmim')])
def test_the_clean_gradients_equal_the_stock_ones(tiny, ours, stock):
    stock, model, *batch = pair(tiny, getattr(tiny, ours)(adv_weight=0), getattr(tiny, stock)())
    seeded_loss(stock, *batch)['loss'].backward()
    seeded_loss(model, *batch)['loss_clean'].backward()
    parameters = dict(model.named_parameters())
    for name, parameter in stock.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameters[name].grad, parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize(('ours', 'stock'), [('aemim', 'mae'), ('aesimmim', 'simmim')])
def test_initial_weights_and_clean_names_equal_the_stock_ones(tiny, ours, stock):
    stock, model = tiny.build(getattr(tiny, stock)(), seed=3), tiny.build(getattr(tiny, ours)(), seed=3)
    state = model.state_dict()
    assert {name for name in state if not name.endswith('_adv')} == set(stock.state_dict())
    for name, value in stock.state_dict().items():
        assert torch.equal(state[name], value), name
        assert torch.equal(state.get(f'{name}_adv', value), value), name


def simmim_vit_oracle(model, images, samples):
    """Compute SimMIM on a plain pre-norm ViT by hand."""
    vit, mask = model.backbone, torch.stack([sample.mask for sample in samples])
    tokens = vit.patch_embed.projection(images).flatten(2).transpose(1, 2)
    tokens = torch.where(mask.flatten(1).bool()[..., None], vit.mask_token, tokens)
    x = torch.cat([vit.cls_token.expand(len(images), -1, -1), tokens], dim=1) + vit.pos_embed
    for layer in vit.layers:
        x = x + layer.attn(layer.ln1(x))
        x = x + layer.ffn.layers(layer.ln2(x))
    features = vit.ln1(x)[:, 1:].transpose(1, 2).reshape(len(images), -1, 4, 4)
    pred = torch.nn.functional.pixel_shuffle(model.neck.decoder[0](features), 8)
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    return ((pred - images).abs() * hidden).sum() / hidden.sum() / 3


@pytest.mark.parametrize('budget', [NO_ATTACK, {}])
def test_simmim_on_vit_equals_an_oracle(tiny, budget):
    model = tiny.build(tiny.aesimmim_vit(**budget))
    images, samples = tiny.images(model), tiny.mask_samples(grid=(4, 4))
    got, expected = seeded_loss(model, images, samples), simmim_vit_oracle(model, images, samples)
    torch.testing.assert_close(got['loss_clean'], expected, atol=1e-6, rtol=0)
    if budget:
        torch.testing.assert_close(got['loss_adv'], expected, atol=1e-6, rtol=0)


def test_simmim_on_vit_without_a_mask_is_the_stock_vit(tiny):
    model = tiny.build(tiny.aesimmim_vit())
    stock = tiny.build(
        dict(type='VisionTransformer', arch=tiny.ARCH, img_size=32, patch_size=8, out_type='featmap'), seed=4
    )
    missing, unexpected = stock.load_state_dict(model.backbone.state_dict(), strict=False)
    assert not missing
    assert all(name.endswith('_adv') or name == 'mask_token' for name in unexpected)
    images = tiny.images(model)
    assert torch.equal(model.extract_feat(images)[0], stock(images)[0])
