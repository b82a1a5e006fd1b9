"""A stock model loads an AEMIM checkpoint, and AEMIM loads a stock checkpoint."""

import pytest
import torch

from aemim_mm import Domain, use_domain


@pytest.fixture
def trained(tiny):
    """Build a model with unequal domains."""
    model = tiny.build(tiny.aemim())
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith('pos_embed'):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


@pytest.fixture
def checkpoint(trained, tmp_path):
    path = tmp_path / 'aemim.pth'
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(epoch=1)), path)
    return str(path)


def stock_vit(tiny, **changes):
    return tiny.build(
        dict(type='VisionTransformer', arch=tiny.ARCH, img_size=32, patch_size=8, out_type='raw', **changes), seed=8
    )


def load(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_stock_mae_loads_it_with_nothing_missing_and_gives_the_same_loss(tiny, trained, checkpoint):
    stock = tiny.build(tiny.mae(), seed=8)
    missing, unexpected = stock.load_state_dict(load(checkpoint), strict=False)
    assert not missing
    assert unexpected and all(name.endswith('_adv') for name in unexpected)
    images = tiny.images(trained)
    torch.manual_seed(1)
    expected = stock.loss(images, None)['loss']
    torch.manual_seed(1)
    torch.testing.assert_close(trained.loss(images, None)['loss_clean'], expected, atol=1e-6, rtol=0)


def test_stock_vit_loads_the_encoder_and_gives_the_same_features(tiny, trained, checkpoint):
    state = {name.removeprefix('backbone.'): value for name, value in load(checkpoint).items() if 'backbone.' in name}
    stock = stock_vit(tiny)
    missing, unexpected = stock.load_state_dict(state, strict=False)
    assert not missing
    assert unexpected and all(name.endswith('_adv') for name in unexpected)
    stock.eval()
    images = tiny.images(trained)
    torch.testing.assert_close(stock(images)[0], trained.extract_feat(images)[0], atol=1e-6, rtol=0)
    with use_domain(trained, Domain.ADV):
        assert (stock(images)[0] - trained.extract_feat(images)[0]).abs().max() > 0.01


def test_stock_vit_loads_it_by_init_cfg(tiny, trained, checkpoint):
    stock = stock_vit(tiny, init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'))
    stock.eval()
    images = tiny.images(trained)
    torch.testing.assert_close(stock(images)[0], trained.extract_feat(images)[0], atol=1e-6, rtol=0)


def test_our_encoder_loads_both_domains_by_init_cfg(tiny, trained, checkpoint):
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    model = tiny.build(tiny.aemim(backbone=dict(init_cfg=init_cfg)), seed=9)
    for name, value in trained.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    assert torch.equal(model.neck.decoder_pred.weight, model.neck.decoder_pred.weight_adv)


def test_our_encoder_continues_from_a_stock_mae_checkpoint(tiny, tmp_path):
    stock = tiny.build(tiny.mae(), seed=6)
    torch.save(stock.state_dict(), tmp_path / 'mae.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'mae.pth'), prefix='backbone.')
    state = tiny.build(tiny.aemim(backbone=dict(init_cfg=init_cfg)), seed=9).backbone.state_dict()
    for name, value in stock.backbone.state_dict().items():
        assert torch.equal(state[name], value), name
        assert torch.equal(state.get(f'{name}_adv', value), value), name


def test_a_whole_stock_checkpoint_loads_strictly_and_sets_both_domains(tiny):
    stock, model = tiny.build(tiny.mae(), seed=6), tiny.build(tiny.aemim())
    tiny.part_domains(model)
    model.load_state_dict(stock.state_dict(), strict=True)
    state = model.state_dict()
    for name in state:
        assert torch.equal(state[name], stock.state_dict()[name.removesuffix('_adv')]), name


def test_a_saved_model_reloads_with_distinct_domains(tiny, trained, checkpoint):
    model = tiny.build(tiny.aemim(), seed=7)
    model.load_state_dict(load(checkpoint), strict=True)
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert not torch.equal(model.backbone.cls_token, model.backbone.cls_token_adv)


def test_stock_simmim_swin_loads_an_aesimmim_checkpoint(tiny):
    model, stock = tiny.build(tiny.aesimmim()), tiny.build(tiny.simmim(), seed=5)
    tiny.part_domains(model)
    missing, unexpected = stock.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(name.endswith('_adv') for name in unexpected)
    images = tiny.images(model)
    model.eval(), stock.eval()
    torch.testing.assert_close(model.extract_feat(images)[0], stock.extract_feat(images)[0], atol=1e-6, rtol=0)
