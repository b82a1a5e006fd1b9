"""PGD and FGSM against foolbox; attacks on the encoder against loops of our own."""

import pytest
import torch
from helpers import tiny
from helpers.trained import images_and_labels, trained_classifier

from aemim_mm.attacks import feature_distance
from aemim_mm.errors import UserError
from aemim_mm.robustness.attacked_classifier import AttackedModel
from aemim_mm.robustness.encoder_attacks import feature_attack, reconstruction_attack
from aemim_mm.robustness.pixels import PixelClassifier
from aemim_mm.robustness.sanity import accuracy_under
from aemim_mm.robustness.whitebox import WhiteBox, feature_pgd, fgsm

COUNT = 500


@pytest.fixture(scope='module')
def model():
    return trained_classifier()


@pytest.fixture(scope='module')
def data(model):
    images, labels = images_and_labels('test', COUNT)
    return model.data_preprocessor(dict(inputs=images))['inputs'], labels


@pytest.fixture
def foolbox(monkeypatch, model):
    """foolbox, its view of the classifier, and the images from 0 to 1."""
    library = pytest.importorskip('foolbox')
    images, labels = images_and_labels('test', COUNT)
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    class Logits(torch.nn.Module):
        def forward(self, x):
            return PixelClassifier(model).unit_logits(x)

    return library, library.PyTorchModel(Logits().eval(), bounds=(0, 1), device='cpu'), images.float() / 255, labels


def foolbox_accuracy(foolbox, attack, eps):
    _, model, images, labels = foolbox
    _, x_adv, success = attack(model, images, labels, epsilons=eps)
    return 100 * (~success).double().mean().item(), x_adv


@pytest.mark.parametrize('eps', [1, 4, 8])
def test_fgsm_equals_foolboxs_image_by_image(foolbox, model, data, eps):
    library, _, _, labels = foolbox
    accuracy, expected = foolbox_accuracy(foolbox, library.attacks.LinfFastGradientAttack(), eps / 255)
    result = AttackedModel(model, fgsm(eps)).perturb(*data)
    attacked = result.attempt != 0
    torch.testing.assert_close(result.x_adv[attacked], expected[attacked] * 255, atol=1e-3, rtol=0)
    assert accuracy_under(model, fgsm(eps), [data]) == pytest.approx(accuracy, abs=1e-9)


def test_l2_fgsm_equals_foolboxs_image_by_image(foolbox, model, data):
    library = foolbox[0]
    accuracy, expected = foolbox_accuracy(foolbox, library.attacks.L2FastGradientAttack(), 0.3)
    result = AttackedModel(model, fgsm(0.3, 'l2')).perturb(*data)
    attacked = result.attempt != 0
    torch.testing.assert_close(result.x_adv[attacked], expected[attacked] * 255, atol=1e-2, rtol=0)
    assert accuracy_under(model, fgsm(0.3, 'l2'), [data]) == pytest.approx(accuracy, abs=1e-9)


@pytest.mark.parametrize('norm, eps', [('linf', 2), ('linf', 4), ('linf', 8), ('l2', 0.15), ('l2', 0.3), ('l2', 0.6)])
def test_pgd_equals_foolboxs_within_half_a_point(foolbox, model, data, norm, eps):
    library = foolbox[0]
    kind = library.attacks.LinfPGD if norm == 'linf' else library.attacks.L2PGD
    radius = eps / 255 if norm == 'linf' else eps
    accuracy, _ = foolbox_accuracy(foolbox, kind(abs_stepsize=radius / 4, steps=20, random_start=False), radius)
    ours = accuracy_under(model, WhiteBox(eps, norm, steps=20, step_size=eps / 4, start='zero'), [data])
    print(f'{norm} {eps}: ours {ours:.2f}, foolbox {accuracy:.2f}')
    assert ours == pytest.approx(accuracy, abs=0.5)
    assert 5 < ours < accuracy_under(model, WhiteBox(0), [data]) - 5


def test_the_step_size_is_in_the_units_of_eps_and_has_a_default(model, data):
    part = [tensor[:100] for tensor in data]
    for norm, eps in (('linf', 4), ('l2', 0.3)):
        default, same, other = (
            AttackedModel(model, WhiteBox(eps, norm, steps=5, step_size=size, start='zero')).perturb(*part).x_adv
            for size in (None, 2.5 * eps / 5, eps / 100)
        )
        assert torch.equal(default, same) and not torch.equal(default, other)
        # Five steps of a hundredth of eps go no further than a twentieth of it.
        delta = other - AttackedModel(model, WhiteBox(0)).perturb(*part).x_adv
        size = delta.abs().amax() if norm == 'linf' else delta.flatten(1).norm(dim=1).amax() / 255
        assert 0 < size <= eps / 20 * 1.001


def test_more_work_breaks_no_fewer_images(model, data):
    # Short steps, so that much depends on the start: a good single run leaves nothing to find on some machines.
    single = AttackedModel(model, WhiteBox(4, steps=2, step_size=0.5)).perturb(*data)
    several = AttackedModel(model, WhiteBox(4, steps=2, step_size=0.5, restarts=4)).perturb(*data)
    assert (several.success | ~single.success).all() and several.success.sum() > single.success.sum()
    assert {-1, 0, 1} < set(several.attempt.tolist()) <= {-1, 0, 1, 2, 3, 4}
    # The first try is that of the attack without restarts.
    assert torch.equal(several.attempt == 1, single.attempt == 1)


def test_the_margin_loss_breaks_what_hides_its_gradients(model, data):
    """Logits scaled up by 1,000: cross-entropy has no gradient left in float32, the margin is as good as before."""
    hidden = trained_classifier()
    with torch.no_grad():
        hidden.head.fc.weight.mul_(1000)
        hidden.head.fc.bias.mul_(1000)
    cross_entropy, margin = (
        accuracy_under(hidden, WhiteBox(8, steps=10, start='zero', loss=loss), [data]) for loss in ('ce', 'margin')
    )
    plain = accuracy_under(model, WhiteBox(8, steps=10, start='zero', loss='margin'), [data])
    assert margin == pytest.approx(plain, abs=0.5)
    assert cross_entropy > margin + 20


def test_the_feature_attack_moves_features_further_than_noise_and_than_an_attack_on_the_labels(model, data):
    inputs, labels = (tensor[:100] for tensor in data)
    distance, target = feature_distance('l2'), PixelClassifier(model)
    pixels = target.to_pixels(inputs)
    moved = {
        name: distance(target.features(AttackedModel(model, attack).perturb(inputs, labels).x_adv), clean).item()
        for clean in [target.features(pixels)]
        for name, attack in dict(
            noise=WhiteBox(4, steps=0),
            labels=WhiteBox(4),
            features=feature_pgd(4),
            cosine=feature_pgd(4, loss='cosine'),
        ).items()
    }
    assert moved['features'] > 1.2 * moved['labels'] > 1.2 * moved['noise']


def test_the_feature_attack_as_a_function_on_a_pre_trained_encoder():
    model = tiny.build(tiny.mae())
    inputs = model.data_preprocessor(dict(inputs=tiny.pixels().round(), data_samples=None))['inputs']
    before = tiny.snapshot(model)
    state = torch.get_rng_state()
    noise, attack = (
        feature_attack(
            model, inputs, feature_pgd(4, steps=steps), features=lambda images: model.extract_feat(images)[0]
        )
        for steps in (0, 10)
    )
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert noise.before == attack.before == 0 and attack.after > 2 * noise.after > 0
    assert (attack.x_adv - tiny.pixels().round()).abs().max() <= 4
    # The reported distance, computed again.
    perturbed = (attack.x_adv - model.data_preprocessor.mean) / model.data_preprocessor.std
    model.eval()
    features = [model.extract_feat(images)[0] for images in (perturbed, inputs)]
    again = feature_distance('l2')(*features).item() / len(inputs)
    assert attack.after == pytest.approx(again, rel=1e-4)


@pytest.mark.parametrize('config', [tiny.mae(), tiny.aemim()], ids=['MAE', 'AEMIM'])
@pytest.mark.parametrize('norm, eps', [('linf', 4), ('l2', 1.0)])
def test_the_reconstruction_attack_raises_the_loss_of_a_fixed_mask(config, norm, eps):
    model = tiny.build(config)
    inputs = model.data_preprocessor(dict(inputs=tiny.pixels().round(), data_samples=None))['inputs']
    before, state = tiny.snapshot(model), torch.get_rng_state()
    for adv_target in ('clean', 'adv'):
        noise, attack = (
            reconstruction_attack(model, inputs, None, WhiteBox(eps, norm, steps=steps), adv_target=adv_target)
            for steps in (0, 10)
        )
        assert noise.before == attack.before
        assert attack.after - attack.before > 2 * abs(noise.after - noise.before)
        delta = attack.x_adv - tiny.pixels().round()
        size = delta.abs().max() if norm == 'linf' else delta.flatten(1).norm(dim=1).max() / 255
        assert size <= eps * 1.0001
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_with_the_clean_target_only_visible_patches_are_perturbed():
    """Hidden pixels reach the loss as targets only."""
    model = tiny.build(tiny.mae())
    pixels = tiny.pixels().round()
    inputs = model.data_preprocessor(dict(inputs=pixels, data_samples=None))['inputs']
    moved = {}
    for adv_target in ('clean', 'adv'):
        # From close to zero: signs of exact zeros are zero, so what has no gradient stays at its start.
        result = reconstruction_attack(model, inputs, None, WhiteBox(4, steps=5, start='zero'), adv_target=adv_target)
        moved[adv_target] = (result.x_adv != pixels).any(dim=1).float().mean().item()
    assert moved['clean'] <= 0.25 + 1e-6 and moved['adv'] > 0.9


def test_the_loss_before_the_attack_is_the_models_own():
    model = tiny.build(tiny.mae())
    inputs = model.data_preprocessor(dict(inputs=tiny.pixels().round(), data_samples=None))['inputs']
    result = reconstruction_attack(model, inputs, None, WhiteBox(4, steps=0, start='zero'), seed=7)
    torch.manual_seed(7)
    assert result.before == pytest.approx(model.loss(inputs, None)['loss'].item(), rel=1e-5)


def test_an_unknown_target():
    with pytest.raises(UserError, match="adv_target 'none'. Known: adv, clean"):
        reconstruction_attack(tiny.build(tiny.mae()), None, None, WhiteBox(4), adv_target='none')
