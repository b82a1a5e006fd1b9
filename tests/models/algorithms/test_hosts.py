"""AEMIM on every MIM method of mmpretrain: the clean pass is the stock method, and the adversarial pass is its twin."""

import pytest
import torch
from helpers import hosts, processes, tiny
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmpretrain.models.utils.sparse_modules import SparseHelper

from aemim_mm import load_encoder
from aemim_mm.adapters import AdaptedLayer
from aemim_mm.domain import Domain, use_domain
from aemim_mm.errors import UserError
from aemim_mm.replay import recorded_calls
from aemim_mm.visualization.reconstruction import reconstruct

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')
NAMES = list(hosts.HOSTS)
# The encoder of CIM sees corrupted images: test_cim.py.
WITH_MASKS = [name for name in NAMES if name != 'CIM']
TARGETS = [name for name in NAMES if 'target_generator' in hosts.stock(name, 'clip.pth')]


@pytest.fixture(scope='session')
def clip(tmp_path_factory):
    return hosts.write_clip(tmp_path_factory.mktemp('clip') / 'clip.pth')


@pytest.mark.parametrize('name', NAMES)
def test_the_clean_pass_is_one_step_of_the_stock_method(name, clip):
    stock, model = hosts.pair(name, clip)
    hosts.seeded()
    expected = stock.loss(**hosts.batch(name, stock))
    active = SparseHelper._cur_active
    hosts.seeded()
    got = model.loss(**hosts.batch(name, model))
    assert torch.equal(got['loss_clean'], hosts.total(expected))
    assert {key: value for key, value in expected.items() if 'loss' not in key}.items() <= got.items()
    assert got['attack_end'] > 1.5 * got['attack_start']
    if name.startswith('SparK'):
        assert torch.equal(SparseHelper._cur_active, active)

    # Teachers, codebooks and running statistics are as after one step.
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in stock.state_dict().items())

    hosts.total(expected).backward()
    model.parse_losses(got)[0].backward()
    idle = {key for key, parameter in stock.named_parameters() if parameter.requires_grad and parameter.grad is None}
    for key, parameter in model.named_parameters():
        if key.split('.')[0] in model.target_names:
            assert not parameter.requires_grad, key
        elif parameter.requires_grad and key.removesuffix('_adv') not in idle:
            assert parameter.grad is not None, key


@pytest.mark.parametrize('adv_target', ['adv', 'clean'])
@pytest.mark.parametrize('name', WITH_MASKS)
def test_without_a_budget_both_passes_are_equal(name, adv_target, clip):
    config = hosts.adversarial(name, clip, attack=dict(eps=0, start='zero'), adv_target=adv_target)
    model = hosts.build(config)
    losses = model.loss(**hosts.batch(name, model))
    assert losses['loss_adv'].item() == pytest.approx(losses['loss_clean'].item(), rel=1e-6)


@pytest.mark.parametrize('name', WITH_MASKS)
def test_all_passes_see_the_same_mask(name, clip):
    model = hosts.build(hosts.adversarial(name, clip, attack=dict(eps=64, step_size=32), adv_target='adv'))
    data = hosts.batch(name, model)
    with recorded_calls(model.backbone) as calls:
        model.loss(**data)
        # Local crops of iBOT have no mask.
        first, *others = [hosts.mask_of(name, call) for call in calls if name != 'iBOT' or len(call.args) > 1]
        model.loss(**data)
    assert len(others) == 3 and all(torch.equal(first, other) for other in others)
    if name in hosts.DRAW_THEIR_MASKS:
        assert not torch.equal(first, hosts.mask_of(name, calls[4])), 'masks of another step'


@pytest.mark.parametrize('name', NAMES)
def test_each_loss_trains_the_adapters_of_its_domain(name, clip):
    model = hosts.build(hosts.adversarial(name, clip, early_backward=False))
    losses = model.loss(**hosts.batch(name, model))
    split = {
        f'{prefix}.{own}'
        for prefix, layer in model.named_modules()
        if isinstance(layer, AdaptedLayer)
        for own in layer.split_names
    }
    parameters = {key: value for key, value in model.named_parameters() if value.requires_grad}
    for loss, other in (('loss_clean', '_adv'), ('loss_adv', '')):
        found = torch.autograd.grad(losses[loss], parameters.values(), retain_graph=True, allow_unused=True)
        for key, gradient in zip(parameters, found):
            if key.removesuffix('_adv') in split:
                of_other = key.endswith('_adv') if other else not key.endswith('_adv')
                assert (gradient is None or not gradient.any()) == of_other, (loss, key)


@pytest.mark.parametrize('name', NAMES)
def test_attacks_are_stronger_than_noise_after_a_short_training(name, clip):
    model = hosts.build(hosts.adversarial(name, clip))
    data = hosts.batch(name, model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model.parse_losses(model.loss(**data))[0].backward()
        optimizer.step()
    step = model.two_passes(**data)
    images = step.clean.images
    bound = (step.adv.images - images).abs().amax((0, 2, 3), keepdim=True)
    noise = images + bound * torch.randn_like(images).sign()
    with torch.no_grad(), use_domain(model, Domain.ADV):
        assert step.attack.values[-1] > 1.2 * step.attack.objective(noise) / len(images)


@pytest.mark.parametrize('adv_target', ['clean', 'adv'])
@pytest.mark.parametrize('name', TARGETS)
def test_target_networks_run_on_clean_images_once(name, adv_target, clip, monkeypatch):
    model = hosts.build(hosts.adversarial(name, clip, adv_target=adv_target))
    data, computed = hosts.batch(name, model), []
    for kind in {type(network) for network in model.target_networks}:
        monkeypatch.setattr(kind, 'forward', counting(kind.forward, computed))
    model.loss(**data)
    for network in model.target_networks:
        assert computed.count(network) == (1 if adv_target == 'clean' or name == 'CIM' else 2)
        assert not any(module.training for module in network.modules())


def counting(forward, computed):
    def counted(self, *args, **kwargs):
        computed.append(self)
        return forward(self, *args, **kwargs)

    return counted


@pytest.mark.parametrize('name', NAMES)
def test_other_settings(name, clip):
    """Early and late gradients are equal; a share of the batch, bfloat16 and the other masks of attacks run."""
    gradients = []
    for early in (True, False):
        model = hosts.build(hosts.adversarial(name, clip, early_backward=early))
        hosts.seeded()
        model.parse_losses(model.loss(**hosts.batch(name, model)))[0].backward()
        gradients.append({key: value.grad for key, value in model.named_parameters() if value.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][key], atol=1e-6, rtol=1e-4, msg=key)

    share = 1 if name == 'iBOT' else 0.5
    resampled = [] if name == 'CIM' else [dict(attack_mask='resampled')]
    for changes in (dict(adv_share=share), *resampled, dict(attack_mask='none')):
        model = hosts.build(hosts.adversarial(name, clip, **changes))
        data = hosts.batch(name, model)
        step = model.two_passes(**data, share=model.adv_share)
        assert len(step.adv.images) == len(step.clean.images) * model.adv_share
        (step.clean.loss + step.adv.loss).backward()
        assert step.attack.values[-1] > step.attack.values[0]

    model = hosts.build(hosts.adversarial(name, clip))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(**hosts.batch(name, model))
    assert torch.isfinite(losses['loss_clean'] + losses['loss_adv'])


@pytest.mark.parametrize('name', NAMES)
def test_the_clean_half_of_a_checkpoint_is_a_stock_checkpoint(name, clip):
    stock, model = hosts.pair(name, clip)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.parse_losses(model.loss(**hosts.batch(name, model)))[0].backward()
    optimizer.step()
    missing, unexpected = stock.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all(key.endswith('_adv') for key in unexpected) and unexpected
    again = hosts.build(hosts.adversarial(name, clip), seed=7)
    again.load_state_dict(model.state_dict(), strict=True)
    losses = []
    for one in (model, again):
        hosts.seeded()
        losses.append(hosts.total(one.loss(**hosts.batch(name, one))))
    assert torch.equal(*losses)


def gradients_of_half(name, clip, rank, wrap=lambda model: model):
    """Compute the gradients of one half of a batch, with random numbers of the rank's own."""
    model = hosts.build(hosts.adversarial(name, clip, backbone=dict(drop_path_rate=0.0)))
    wrapped = wrap(model)
    data = hosts.batch(name, model, size=8)
    half = slice(4 * rank, 4 * rank + 4)
    inputs = data['inputs']
    inputs = [view[half] for view in inputs] if isinstance(inputs, list) else inputs[half]
    hosts.seeded(rank)
    losses = wrapped(inputs, data['data_samples'][half], mode='loss')
    model.parse_losses(losses)[0].backward()
    return {key: value.grad for key, value in model.named_parameters() if value.grad is not None}


def parallel_gradients(rank, clip, folder):
    for name in NAMES:
        found = gradients_of_half(name, clip, rank, lambda model: MMDistributedDataParallel(module=model))
        torch.save(found, f'{folder}/{name}-{rank}.pth')


@pytest.mark.slow
def test_two_processes_average_the_gradients_of_both(clip, tmp_path):
    processes.on_ranks(parallel_gradients, clip, str(tmp_path))
    for name in NAMES:
        first, second = (torch.load(tmp_path / f'{name}-{rank}.pth', weights_only=True) for rank in range(2))
        alone = [gradients_of_half(name, clip, rank) for rank in range(2)]
        assert first.keys() == alone[0].keys()
        for key, value in first.items():
            mean = (alone[0][key] + alone[1][key]) / 2
            torch.testing.assert_close(value, mean, atol=1e-5, rtol=1e-3, msg=f'{name}: {key}')
            assert torch.equal(value, second[key])


def test_the_attention_decides_the_mask_of_milan(clip):
    """With the attention of adversarial images, the test of masks above would fail."""
    model = hosts.build(hosts.adversarial('MILAN', clip, attack=dict(eps=64, step_size=32), adv_target='adv'))
    model.adversarial_target = lambda clean, adv: adv
    with recorded_calls(model.backbone) as calls:
        model.loss(**hosts.batch('MILAN', model))
    assert not torch.equal(calls[0].output[2], calls[-1].output[2])


def test_the_teacher_of_cae_follows_by_name(clip):
    model = hosts.build(hosts.adversarial('CAE', clip, base_momentum=0.75))
    assert not [key for key, _ in model.teacher.named_parameters() if key.endswith('_adv')]
    own, before = dict(model.backbone.named_parameters()), {}
    with torch.no_grad():
        for key, parameter in model.teacher.named_parameters():
            assert torch.equal(parameter, own[key])
            before[key] = parameter.clone()
            own[key].add_(1)
    model.loss(**hosts.batch('CAE', model))
    for key, parameter in model.teacher.named_parameters():
        torch.testing.assert_close(parameter, before[key] + 0.25)


def test_two_views_need_their_data_preprocessor(clip):
    model = hosts.build(hosts.adversarial('BEiT', clip))
    data = hosts.batch('BEiT', model)
    model.data_preprocessor = hosts.build(hosts.adversarial('MAE', clip)).data_preprocessor
    with pytest.raises(UserError, match='AEBEiT got 2 views of each image. Expected one, or two with data_preproc'):
        model.loss(**data)


READABLE = {'MAE', 'SimMIM', 'MaskFeat', 'MILAN', 'EVA', 'iBOT', 'CIM', 'HPM'}


@pytest.mark.parametrize('name', NAMES)
def test_encoders_are_read_or_refused(name, clip, tmp_path):
    config = hosts.adversarial(name, clip)
    model = hosts.build(config)
    tiny.part_domains(model)
    meta = dict(cfg=Config(dict(model=config, default_scope='mmpretrain')).pretty_text, mmengine_version='0.10.7')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    if name not in READABLE:
        with pytest.raises(UserError, match='a plain encoder has no|no names of a layout that is known'):
            load_encoder(tmp_path / 'a.pth')
        return
    model.eval()
    for domain in Domain:
        encoder = load_encoder(tmp_path / 'a.pth', domain=domain.value)
        images = torch.randn(2, 3, *encoder.img_size)
        with torch.no_grad(), use_domain(model, domain):
            features = model.extract_feat(images)[-1]
        expected = features[:, 0] if features.ndim == 3 else features.mean((2, 3))
        # Swin here has a norm between its stages.
        torch.testing.assert_close(encoder(images), expected, atol=0.05 if name == 'SimMIM' else 1e-6, rtol=0)


@pytest.mark.parametrize('name', NAMES)
def test_panels_show_pixels_or_are_refused(name, clip):
    model = hosts.build(hosts.adversarial(name, clip, head=dict(type='AEMIMHead')) if 'MAE' in name else (
        hosts.adversarial(name, clip)))  # fmt: skip
    data = hosts.batch(name, model)
    if name in ('MAE', 'MAE, HiViT', 'SimMIM', 'HPM'):
        pictures = reconstruct(model, **data)
        assert pictures[Domain.ADV].pred.shape == data['inputs'].shape
        return
    with pytest.raises(UserError, match=f'{type(model).__name__} predicts nothing that panels could show'):
        reconstruct(model, **data)


def test_the_views_of_ibot_belong_together():
    with pytest.raises(UserError, match='adv_share is 1 for iBOT, because its views belong together, but got 0.5'):
        tiny.build(hosts.adversarial('iBOT', None, adv_share=0.5))


def test_local_crops_of_ibot_stay_clean():
    model = hosts.build(hosts.adversarial('iBOT', None))
    data = hosts.batch('iBOT', model)
    step = model.two_passes(**data)
    assert len(step.adv.images) == 8 and not torch.equal(step.adv.images, step.clean.images)
    assert all(torch.equal(*pair) for pair in zip(step.adv.inputs[1:], data['inputs'][2:], strict=True))


def test_panels_of_mae_need_a_head_that_gives_pixels(clip):
    model = hosts.build(hosts.adversarial('MAE', clip))
    with pytest.raises(UserError, match="Panels need model.head.type='AEMIMHead', but got a MAEPretrainHead"):
        model.check_pictures()
