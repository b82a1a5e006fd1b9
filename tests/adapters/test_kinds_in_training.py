"""Every kind of adapter in the training of AEMIM on MAE, on SimMIM with Swin, and on CAE, which has two views."""

from copy import deepcopy

import pytest
import torch
from helpers import hosts, tiny

from aemim_mm import Domain, use_domain
from aemim_mm.adapters import adapted_layers
from aemim_mm.errors import UserError

pytestmark = pytest.mark.filterwarnings('ignore:torch.meshgrid')
KINDS = {
    'norm': 'norm',
    'norm, last': dict(type='norm', layers=dict(last=1)),
    'pos_embed': 'pos_embed',
    'patch_embed': 'patch_embed',
    'lora': dict(type='lora', rank=2),
    'lora, all': dict(type='lora', rank=2, alpha=4, targets=('qkv', 'proj', 'fc1', 'fc2'), layers=dict(last=1)),
    'bottleneck': dict(type='bottleneck', width=4),
    'bottleneck, Pfeiffer': dict(type='bottleneck', width=4, targets=('fc2',), layers=[0]),
    'parallel_mlp': dict(type='parallel_mlp', width=4, layers=dict(first=1)),
    'prompt': dict(type='prompt', tokens=2),
    'several': [
        'norm',
        dict(type='lora', rank=2),
        dict(type='bottleneck', width=4),
        dict(type='parallel_mlp', width=4),
    ],
}
HOSTS = ('MAE', 'SimMIM', 'CAE')
# What a host has no place for.
REFUSED = {('prompt', 'SimMIM'), ('prompt', 'CAE')}
DECODER_REFUSED = {
    *((kind, 'SimMIM') for kind in KINDS),  # its decoder is one convolution
    ('prompt', 'CAE'), ('pos_embed', 'CAE'), *(('patch_embed', host) for host in HOSTS),
}  # fmt: skip
CASES = [(kind, host, part) for kind in KINDS for host in HOSTS for part in ('encoder', 'decoder')]


def config_of(kind, host, part, **changes):
    chosen = dict(adapters=KINDS[kind]) if part == 'encoder' else dict(adapters='norm', decoder_adapters=KINDS[kind])
    return hosts.adversarial(host, None, **chosen, **changes)


def is_refused(kind, host, part):
    return (kind, host) in (REFUSED if part == 'encoder' else DECODER_REFUSED)


def trained(model, data, iterations=3):
    """Train, and return the names of all parameters that got no gradient in the last iteration, and the losses."""
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-2)
    for _ in range(iterations):
        optimizer.zero_grad()
        losses = model.loss(**data)
        model.parse_losses(losses)[0].backward()
        without = {name for name, value in model.named_parameters() if value.requires_grad and value.grad is None}
        still = {name for name, value in model.named_parameters() if value.requires_grad and not value.grad.any()}
        optimizer.step()
    return without, still, losses


@pytest.mark.parametrize(('kind', 'host', 'part'), CASES)
def test_a_kind_trains(kind, host, part):
    if is_refused(kind, host, part):
        with pytest.raises(UserError, match=r'Nothing to adapt|fits no layer|needs the attention|has none'):
            hosts.build(config_of(kind, host, part))
        return
    stock, model = hosts.build(hosts.stock(host, None)), hosts.build(config_of(kind, host, part), seed=1)
    model.load_state_dict(stock.state_dict(), strict=True)
    names = set(model.state_dict()) - set(stock.state_dict())
    assert names and all(name.endswith('_adv') for name in names)

    # CLEAN is the stock model, bit for bit.
    hosts.seeded()
    expected = hosts.total(stock.loss(**hosts.batch(host, stock)))
    hosts.seeded()
    data = hosts.batch(host, model)
    losses = model.loss(**data)
    assert torch.equal(losses['loss_clean'], expected)

    # ADV equals CLEAN at first.
    model.data_preprocessor.eps, model.data_preprocessor.start = 0, 'zero'
    losses = model.loss(**data)
    assert losses['loss_adv'].item() == pytest.approx(losses['loss_clean'].item(), rel=1e-6)
    model.data_preprocessor.eps, model.data_preprocessor.start = 2, 'uniform'

    idle = {name for name, value in stock.named_parameters() if value.requires_grad and value.grad is None}
    without, still, losses = trained(model, data)
    assert without <= idle
    assert not {name for name in still if name.endswith('_adv')}, 'adapters that do not learn'
    assert all(value.isfinite() for value in losses.values())

    # No loss reaches the adapters of the other domain.
    model.early_backward = False
    losses = model.loss(**data)
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    split = {
        f'{path}.{name}'.removeprefix('.')
        for path, layer in adapted_layers(model).items()
        for name in layer.split_names
    }
    for loss in ('loss_clean', 'loss_adv'):
        found = torch.autograd.grad(losses[loss], parameters.values(), retain_graph=True, allow_unused=True)
        for name, gradient in zip(parameters, found):
            foreign = name.endswith('_adv') if loss == 'loss_clean' else name in split
            assert not foreign or gradient is None or not gradient.any(), (loss, name)


@pytest.mark.parametrize('kind', ['lora, all', 'several', 'prompt', 'pos_embed', 'patch_embed'])
def test_copies_and_checkpoints_have_both_domains(kind, tmp_path):
    model = hosts.build(config_of(kind, 'MAE', 'encoder'))
    data = hosts.batch('MAE', model)
    trained(model, data)
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    loaded = hosts.build(config_of(kind, 'MAE', 'encoder'), seed=5)
    loaded.load_state_dict(torch.load(tmp_path / 'model.pth', weights_only=True), strict=True)
    torch.save(model, tmp_path / 'whole.pth')
    losses = []
    for copy in (model, loaded, deepcopy(model), torch.load(tmp_path / 'whole.pth', weights_only=False)):
        hosts.seeded()
        losses.append({name: value.item() for name, value in copy.loss(**data).items()})
    assert losses[0] == losses[1] == losses[2] == losses[3]


def test_a_stock_checkpoint_takes_the_effect_of_additions_away():
    stock, model = hosts.build(hosts.stock('MAE', None)), hosts.build(config_of('several', 'MAE', 'encoder'), seed=1)
    trained(model, hosts.batch('MAE', model))
    model.load_state_dict(stock.state_dict(), strict=True)
    x = hosts.batch('MAE', model)['inputs']
    with torch.no_grad(), use_domain(model, Domain.ADV):
        assert torch.equal(model.extract_feat(x)[-1], stock.extract_feat(x)[-1])


def test_both_domains_may_have_additions():
    kinds = [dict(type='lora', rank=2, both=True), dict(type='bottleneck', width=4, both=True)]
    stock, model = hosts.build(hosts.stock('MAE', None)), hosts.build(hosts.adversarial('MAE', None, adapters=kinds))
    model.load_state_dict(stock.state_dict(), strict=True)
    added = set(model.state_dict()) - set(stock.state_dict())
    ends = {name.rpartition('_')[2] for name in added}
    assert ends == {'adv', 'clean'}
    data = hosts.batch('MAE', model)
    hosts.seeded()
    expected = hosts.total(stock.loss(**hosts.batch('MAE', stock)))
    hosts.seeded()
    assert torch.equal(model.loss(**data)['loss_clean'], expected)
    without, still, _ = trained(model, data)
    assert not without and not still & added
    model.early_backward = False
    losses = model.loss(**data)
    parameters = dict(model.named_parameters())
    for loss, other in (('loss_clean', '_adv'), ('loss_adv', '_clean')):
        own = {name: value for name, value in parameters.items() if name in added and name.endswith(other)}
        assert torch.autograd.grad(losses[loss], own.values(), retain_graph=True, allow_unused=True) == (None,) * len(
            own
        )
    assert tiny.snapshot(model)['domain backbone.layers.0.attn.qkv'] is Domain.CLEAN
