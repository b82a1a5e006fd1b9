"""How far features move, against the definition and on models whose movement is known."""

import numpy as np
import pytest
import torch
from helpers import hosts

from aemim_mm.domain import Domain, use_domain
from aemim_mm.errors import UserError
from aemim_mm.models.movement import adapter_drift, feature_movement
from aemim_mm.robustness.encoder_attacks import features_in_training

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return hosts.write_clip(tmp_path_factory.mktemp('clip') / 'clip.pth')


@pytest.mark.parametrize('name', hosts.HOSTS)
def test_every_method_is_measured_and_left_as_it_was(name, clip, tiny):
    model = hosts.build(hosts.adversarial(name, clip))
    tiny.part_domains(model)
    data, before = hosts.batch(name, model), tiny.snapshot(model)
    with torch.random.fork_rng():
        found = feature_movement(model, **data)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    for moved in vars(found).values():
        assert moved.dtype == torch.float32 and torch.isfinite(moved).all() and (moved > 0).all()
    assert found.attack.mean() > 1.5 * found.noise.mean()


def moved_by_hand(features, start):
    """From maps (B, C, rows, columns)."""
    features, start = (value.double().flatten(2).mT.numpy() for value in (features, start))
    spread = np.sqrt(((start - start.mean((0, 1))) ** 2).mean())
    return np.sqrt(((features - start) ** 2).mean((1, 2))) / spread


def test_movement_by_hand(tiny):
    """With masks that come with the data, and a start at zero, no random number is drawn but the noise's."""
    model = tiny.build(tiny.aesimmim_vit(backbone=dict(drop_rate=0.5), data_preprocessor=dict(start='zero')))
    tiny.part_domains(model)
    inputs, samples = tiny.images(model, 3), tiny.mask_samples(3, grid=(4, 4))
    seen = []
    model.data_preprocessor.perturb = lambda images, *args, perturb=model.data_preprocessor.perturb, **kwargs: (
        seen.append(perturb(images, *args, **kwargs)) or seen[-1]
    )
    found = feature_movement(model, inputs, samples)
    x_adv, noise = seen
    bound = 2 / torch.tensor(tiny.NORMALIZE['std']).view(3, 1, 1)
    assert ((noise - inputs).abs() <= bound + 1e-5).all() and ((noise - inputs).abs() / bound).max() > 0.9
    encode = features_in_training(model, inputs, samples)
    model.eval()
    with torch.no_grad():
        clean = encode(inputs)
        with use_domain(model, Domain.ADV):
            still, by_noise, by_attack = map(encode, (inputs, noise, x_adv))
    for got, pair in (
        (found.noise, (by_noise, still)),
        (found.attack, (by_attack, still)),
        (found.gap, (still, clean)),
    ):
        np.testing.assert_allclose(got.numpy(), moved_by_hand(*pair), rtol=1e-4)


def test_equal_domains_have_no_gap_and_without_a_budget_nothing_moves(tiny):
    model = tiny.build(tiny.aemim())
    inputs = tiny.images(model)
    assert feature_movement(model, inputs).gap.eq(0).all()
    found = feature_movement(model, inputs, eps=0)
    assert found.noise.eq(0).all() and found.attack.eq(0).all()


@pytest.mark.parametrize('changes', [{}, dict(attack_layers=1), dict(attack_mask='none'), dict(distance='cosine')])
def test_another_radius_is_as_if_it_were_the_models(tiny, changes):
    """The features are those of the whole encoder, whatever layer the attack sees."""
    found = []
    for own, eps in ((8, None), (2, 8), (0, 8)):
        model = tiny.build(tiny.aemim(data_preprocessor=dict(eps=own), **changes))
        tiny.part_domains(model)
        torch.manual_seed(4)
        found.append(feature_movement(model, tiny.images(model), eps=eps))
        assert model.data_preprocessor.eps == own and model.data_preprocessor.step_size == own / 2
    for other in found[1:]:
        for name, moved in vars(found[0]).items():
            torch.testing.assert_close(vars(other)[name], moved)
    with pytest.raises(UserError, match='eps is in pixels, 0-255, but got 300'):
        feature_movement(model, tiny.images(model), eps=300)


def test_without_steps_the_attack_is_noise(tiny):
    model = tiny.build(tiny.aemim(data_preprocessor=dict(steps=0)))
    found = feature_movement(model, tiny.images(model, 32))
    assert found.attack.mean().item() == pytest.approx(found.noise.mean().item(), rel=0.05)


def test_drift_by_hand(tiny):
    model = tiny.build(tiny.aemim(backbone=dict(adapters=['norm', 'cls_token', 'lora'])))
    assert adapter_drift(model.backbone) == dict(split=0, added=0)
    tiny.part_domains(model)
    weights = {name: value.detach().double().numpy() for name, value in model.backbone.named_parameters()}
    pairs = [(weights[name], weights[f'{name}_adv']) for name in weights if f'{name}_adv' in weights]
    change = sum(((adv - clean) ** 2).sum() for clean, adv in pairs)
    length = sum((clean**2).sum() for clean, _ in pairs)
    factors = np.concatenate([value.ravel() for name, value in weights.items() if name.endswith('lora.b_adv')])
    found = adapter_drift(model.backbone)
    assert len(pairs) == 11 and found['split'] == pytest.approx(np.sqrt(change / length))
    assert found['added'] == pytest.approx(np.sqrt((factors**2).mean()))
    assert adapter_drift(torch.nn.Linear(2, 2)) == {}
