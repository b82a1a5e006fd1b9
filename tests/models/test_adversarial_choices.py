"""The choices that the paper leaves open: target, weight, share, decoder, adapters."""

import pytest
import torch

from aemim_mm import Domain, use_domain
from aemim_mm.errors import UserError


def adversarial_loss_by_hand(model, passes, target):
    torch.manual_seed(11)
    with use_domain(model, Domain.ADV):
        latent, mask, ids_restore = model.backbone(passes.attack.x_adv)
        pred = model.neck(latent, ids_restore)
    return model.head.loss(pred, target, mask)


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
def test_the_adversarial_branch_reconstructs_its_target(tiny, adv_target):
    model = tiny.build(tiny.aemim(adv_target=adv_target, data_preprocessor=dict(eps=40)))
    tiny.part_domains(model)
    images = tiny.images(model)
    torch.manual_seed(11)
    passes = model.two_passes(images, None)
    by_hand = {
        'adv': adversarial_loss_by_hand(model, passes, passes.attack.x_adv),
        'clean': adversarial_loss_by_hand(model, passes, images),
    }
    torch.testing.assert_close(passes.adv.loss, by_hand[adv_target])
    assert abs(by_hand['adv'] - by_hand['clean']) > 1e-3


def test_the_loss_is_weighted(tiny):
    losses = {}
    for weight in (1, 0.25, 0):
        model = tiny.build(tiny.aemim(adv_weight=weight))
        torch.manual_seed(11)
        losses[weight] = model.loss(tiny.images(model), None)
    for weight in (0.25, 0):
        torch.testing.assert_close(losses[weight]['loss_adv'], weight * losses[1]['loss_adv'])
        assert torch.equal(losses[weight]['loss_clean'], losses[1]['loss_clean'])


@pytest.mark.parametrize(('iteration', 'expected'), [(0, 0), (25, 0.5), (50, 1), (75, 0.6), (99, 0.216), (100, 0.2)])
def test_the_weight_follows_its_points(tiny, no_progress, iteration, expected):
    model = tiny.build(tiny.aemim(adv_weight=[(0, 0), (0.5, 1), (1, 0.2)]))
    no_progress.update_info('iter', iteration)
    no_progress.update_info('max_iters', 100)
    assert model.adv_weight == pytest.approx(expected)
    assert type(model.adv_weight) is float


def test_outside_of_training_the_first_weight_holds(tiny):
    assert tiny.build(tiny.aemim(adv_weight=[[0, 0.3], [1, 1]])).adv_weight == 0.3
    assert tiny.build(tiny.aemim(adv_weight=0.7)).adv_weight == 0.7


BAD_POINTS = [[], [0, 1], [(0.5, 1), (0.2, 1)], [(0, -1)], [(0, 1, 2)], [(0, 'a')]]


@pytest.mark.parametrize('weight', [-1, 'a', '0.5', None, float('nan'), *BAD_POINTS])
def test_a_bad_weight_is_a_clear_error(tiny, weight):
    with pytest.raises(UserError, match='adv_weight is a number >= 0, or points'):
        tiny.build(tiny.aemim(adv_weight=weight))


@pytest.mark.parametrize(('share', 'count'), [(1, 4), (0.75, 3), (0.5, 2), (0.3, 1), (0.01, 1)])
def test_a_share_of_the_batch_is_attacked_and_all_of_it_is_reconstructed(tiny, monkeypatch, share, count):
    model = tiny.build(tiny.aesimmim(adv_share=share, backbone=dict(drop_path_rate=0.0)))
    images, samples = tiny.images(model), tiny.mask_samples()
    attacked, perturb = [], model.data_preprocessor.perturb

    def spy(inputs, *args, **kwargs):
        attacked.append(inputs)
        return perturb(inputs, *args, **kwargs)

    monkeypatch.setattr(model.data_preprocessor, 'perturb', spy)
    losses = model.loss(images, samples)
    assert len(attacked) == 1 and torch.equal(attacked[0], images[:count])
    stock = tiny.build(tiny.simmim(backbone=dict(drop_path_rate=0.0)))
    torch.testing.assert_close(losses['loss_clean'], stock.loss(images, samples)['loss'])


@pytest.mark.parametrize('share', [0, -0.5, 1.1, 'a', None])
def test_a_bad_share_is_a_clear_error(tiny, share):
    with pytest.raises(UserError, match=r'adv_share is in \(0, 1\]'):
        tiny.build(tiny.aemim(adv_share=share))


HEADS = {'decoder_pred.weight_adv', 'decoder_pred.bias_adv'}
NORMS = {f'decoder_blocks.0.{norm}.{name}_adv' for norm in ('ln1', 'ln2') for name in ('weight', 'bias')}


@pytest.mark.parametrize(
    ('decoder', 'expected'),
    [('shared', set()), ('two_heads', HEADS), ('split_norm', HEADS | NORMS | {'ln1.weight_adv', 'ln1.bias_adv'})],
)
def test_what_the_decoder_has_twice(tiny, decoder, expected):
    model = tiny.build(tiny.aemim(decoder=decoder))
    assert {name for name, _ in model.neck.named_parameters() if name.endswith('_adv')} == expected


def test_two_heads_are_the_default(tiny):
    assert {name for name in tiny.build(tiny.aemim()).neck.state_dict() if name.endswith('_adv')} == HEADS
    for make in (tiny.aesimmim, tiny.aesimmim_vit):
        names = {name for name in tiny.build(make()).neck.state_dict() if name.endswith('_adv')}
        assert names == {'decoder.0.weight_adv', 'decoder.0.bias_adv'}


@pytest.mark.parametrize(
    ('of_backbone', 'of_model', 'expected'),
    [
        (('norm', 'cls_token'), None, (True, True)),
        (('norm',), None, (True, False)),
        ((), None, (True, True)),
        ((), ('cls_token',), (False, True)),
        ((), (), (False, False)),
    ],
)
def test_adapters_of_the_backbone_and_of_the_model(tiny, of_backbone, of_model, expected):
    model = tiny.build(tiny.aemim(backbone=dict(adapters=of_backbone), adapters=of_model))
    names = model.backbone.state_dict()
    assert ('ln1.weight_adv' in names, 'cls_token_adv' in names) == expected
    losses = model.loss(tiny.images(model), None)
    assert torch.isfinite(losses['loss_adv'])


@pytest.mark.parametrize(
    ('field', 'known'),
    [
        ('decoder', 'shared, split_norm, two_heads'),
        ('attack_mask', 'none, resampled, same'),
        ('attack_objective', 'features, pooled, reconstruction'),
        ('adv_target', 'adv, clean'),
        ('distance', 'cosine, kl, l1, l2'),
        ('attack_precision', 'auto, bfloat16, float32'),
    ],
)
def test_an_unknown_name_lists_the_known_ones(tiny, field, known):
    with pytest.raises(UserError, match=f"Unknown {field} 'no such'. Known: {known}"):
        tiny.build(tiny.aemim(**{field: 'no such'}))


def test_an_unknown_adapter_lists_the_known_ones(tiny):
    for changes in (dict(adapters='lora9', backbone=dict(adapters=())), dict(backbone=dict(adapters=('lora9',)))):
        with pytest.raises(UserError, match="Unknown adapter 'lora9'. Known: .*cls_token.*norm"):
            tiny.build(tiny.aemim(**changes))


def test_adapters_chosen_twice_are_a_clear_error(tiny):
    with pytest.raises(UserError, match='Set model.backbone.adapters, and leave model.adapters out'):
        tiny.build(tiny.aemim(adapters=('norm',)))


def test_a_preprocessor_that_cannot_perturb_is_a_clear_error(tiny):
    with pytest.raises(UserError, match="SelfSupDataPreprocessor, which cannot perturb.*type='AdvDataPreprocessor'"):
        tiny.build(tiny.aemim(data_preprocessor=dict(type='SelfSupDataPreprocessor')))


def test_a_share_keeps_the_clean_pass_of_mae_whole_and_masks_its_images_anew(tiny):
    """The clean loss equals stock MAE's. The attack and the adversarial pass share a mask of the attacked images."""
    model, stock = tiny.build(tiny.aemim(adv_share=0.5)), tiny.build(tiny.mae())
    images = tiny.images(model)
    stock.load_state_dict({name: value for name, value in model.state_dict().items() if not name.endswith('_adv')})
    masks = []
    model.backbone.register_forward_hook(lambda _module, args, output: masks.append((len(args[0]), output[1])))
    torch.manual_seed(4)
    losses = model.loss(images, None)
    torch.manual_seed(4)
    torch.testing.assert_close(losses['loss_clean'], stock.loss(images, None)['loss'])
    # Clean, target, two steps of the attack, adversarial.
    assert [count for count, _ in masks] == [4, 2, 2, 2, 2]
    assert all(torch.equal(mask, masks[1][1]) for _, mask in masks[2:])
    assert losses['attack_gain'] > 1
