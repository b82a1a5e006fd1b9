"""Added adapters against the same formulas written out."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import VisionTransformer
from torch import nn

import aemim_mm
from aemim_mm import Domain, split_adapters, use_domain
from aemim_mm.adapters import ADAPTERS, adapted_layers, merged_lora
from aemim_mm.errors import UserError

GUIDE = Path(aemim_mm.__file__).parents[1] / 'docs' / 'adapters.md'


def vit(tiny, adapters=None, seed=0, **changes):
    """Build a ViT in eval mode with adapters whose weights are random."""
    torch.manual_seed(seed)
    model = VisionTransformer(tiny.ARCH, img_size=32, patch_size=8, out_type='raw', **changes)
    if adapters:
        split_adapters(model, adapters)
        randomize(model)
    model.eval()
    return model


def randomize(model):
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(('_adv', '_clean')):
                value.copy_(torch.randn(value.shape) * 0.3)


def output(model, domain, x):
    with torch.no_grad(), use_domain(model, domain):
        return model(x)[0]


X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('domain', ['adv', 'clean'])
@pytest.mark.parametrize('alpha', [None, 6])
def test_merged_lora_equals_unmerged(tiny, domain, alpha):
    kind = dict(type='lora', rank=3, alpha=alpha, targets=('qkv', 'fc1', 'projection'), both=True)
    model, stock = vit(tiny, ['norm', kind]), vit(tiny)
    state = merged_lora(model.state_dict(), domain)
    kept = {name.removesuffix('_adv') if domain == 'adv' else name: value for name, value in state.items()
            if domain == 'adv' and name.endswith('_adv')}  # fmt: skip
    stock.load_state_dict({name: kept.get(name, state[name]) for name in stock.state_dict()})
    assert not torch.allclose(output(model, Domain(domain), X), vit(tiny)(X)[0], atol=1e-2)
    torch.testing.assert_close(output(model, Domain(domain), X), stock(X)[0], rtol=1e-5, atol=1e-5)
    assert {name for name in state if name.endswith(f'_{domain}') and 'lora' in name} == set()


def test_lora_changes_a_weight_by_a_scaled_product():
    layer = nn.Sequential(nn.Linear(4, 6))
    split_adapters(layer, dict(type='lora', rank=2, alpha=5, targets='0'))
    randomize(layer)
    lora, x = layer[0].lora, torch.randn(3, 4)
    expected = x @ (layer[0].weight + 2.5 * lora.b_adv @ lora.a_adv).T + layer[0].bias
    with use_domain(layer, Domain.ADV):
        torch.testing.assert_close(layer(x), expected)


def test_a_bottleneck_follows_attention_and_mlp(tiny):
    model = vit(tiny, dict(type='bottleneck', width=4, layers=[0]))
    layer, x = model.layers[0], torch.randn(2, 5, 32)
    with torch.no_grad():
        attended = layer.attn(layer.ln1(x))
        hidden = x + after(layer.attn.proj.bottleneck, attended)
        expected = hidden + after(layer.ffn.layers[1].bottleneck, layer.ffn.layers(layer.ln2(hidden)))
        with use_domain(model, Domain.ADV):
            torch.testing.assert_close(layer(x), expected)
    assert len(adapted_layers(model)) == 2


def after(adapter, x, activation=F.gelu):
    return x + beside(adapter, x, activation)


def beside(adapter, x, activation):
    return activation(x @ adapter.down_adv.T + adapter.down_bias_adv) @ adapter.up_adv.T + adapter.up_bias_adv


def test_a_parallel_mlp_sees_what_the_mlp_sees(tiny):
    model = vit(tiny, dict(type='parallel_mlp', width=4, scale=0.5))
    layer, x = model.layers[1], torch.randn(2, 5, 32)
    with torch.no_grad():
        hidden = x + layer.attn(layer.ln1(x))
        seen = layer.ln2(hidden)
        expected = hidden + layer.ffn.layers(seen) + 0.5 * beside(layer.ffn.parallel_mlp, seen, torch.relu)
        with use_domain(model, Domain.ADV):
            torch.testing.assert_close(layer(x), expected)


def test_prompts_are_attended_to_by_a_gated_softmax_of_their_own(tiny):
    model = vit(tiny, dict(type='prompt', tokens=3, layers=[0]))
    attn, x = model.layers[0].attn, torch.randn(2, 5, 32)
    prompt = attn.prompt
    with torch.no_grad():
        query, key, value = attn.qkv(x).reshape(2, 5, 3, 2, 16).permute(2, 0, 3, 1, 4)
        own = (query @ key.mT / 4).softmax(-1) @ value
        learned = (query @ prompt.keys_adv.mT / 4).softmax(-1) @ prompt.values_adv
        expected = attn.proj((own + prompt.gate_adv.tanh() * learned).transpose(1, 2).flatten(2))
        with use_domain(model, Domain.ADV):
            torch.testing.assert_close(attn(x), expected)


@pytest.mark.parametrize('precision', [torch.float32, torch.bfloat16])
def test_all_kinds_work_in_autocast_and_in_our_faster_layers(tiny, precision):
    kinds = [dict(type='lora'), dict(type='bottleneck'), dict(type='parallel_mlp'), dict(type='prompt')]
    model = tiny.build(tiny.aemim(adapters=kinds, backbone=dict(adapters=()), decoder_adapters=kinds))
    before = tiny.build(tiny.aemim(adapters=kinds, backbone=dict(adapters=()), decoder_adapters=kinds))
    randomize(model)
    losses = []
    for one in (model, before):
        torch.manual_seed(3)
        with torch.autocast('cpu', torch.bfloat16, enabled=precision is torch.bfloat16):
            losses.append(one.loss(tiny.images(one), None))
    assert torch.equal(losses[0]['loss_clean'], losses[1]['loss_clean'])
    assert losses[0]['loss_adv'].isfinite() and not torch.isclose(losses[0]['loss_adv'], losses[1]['loss_adv'])


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (dict(type='lora', rank=0), 'rank of an adapter is a whole number >= 1, but got 0'),
        (dict(type='lora', ranks=2), "option of the adapter 'lora' 'ranks'. Known: alpha, both, layers, rank, targets"),
        (dict(type='norm', rank=2), "option of the adapter 'norm' 'rank'. Known: layers"),
        (dict(type='bottleneck', width=True), 'width of an adapter'),
        (dict(type='lora', alpha='8'), "alpha of an adapter is a number > 0, but got '8'"),
        (dict(type='parallel_mlp', scale=0), 'scale of an adapter is a number > 0, but got 0'),
        (
            dict(type='lora', targets='ln1'),
            'weights of linear layers and convolutions, not of a LayerNorm',
        ),
        (dict(type='bottleneck', targets='ln1'), 'follows a linear layer, not a LayerNorm'),
        (dict(type='parallel_mlp', targets='qkv'), 'stands beside an MLP, not a Linear'),
        (dict(type='prompt', targets='proj'), 'needs the attention of'),
        (dict(type='lora', targets='q_proj'), "The target 'q_proj' .*VisionTransformer.*fc1.*layers.0.attn.qkv"),
        (dict(type='lora', targets='ffn.layers'), 'runs its children'),
        ([dict(type='lora'), dict(type='lora', rank=2)], "layers.0.attn.qkv has an adapter 'lora' already"),
        (5, r'adapters are names and dict\(type=NAME, ...\), or a list of them, but got 5'),
        (['norm', None], 'or a list of them, but got None'),
        (dict(type='lora', targets=5), r'targets of an adapter are names of parts of a layer, but got \(5,\)'),
        (dict(type='lora', targets=()), r'names of parts of a layer, but got \(\)'),
        (dict(rank=2), 'Unknown adapter None. Known: bottleneck, cls_token, lora'),
    ],
)
def test_a_bad_option_is_one_clear_error(tiny, kind, message):
    with pytest.raises(UserError, match=message):
        split_adapters(vit(tiny), kind)


def test_a_kind_of_ones_own(tiny):
    """The example of docs/adapters.md."""
    example = next(code for code in re.findall(r'```python\n(.*?)```', GUIDE.read_text(), re.DOTALL) if 'class' in code)
    assert len(example.splitlines()) < 20
    exec(example, {})
    try:
        kinds = [dict(type='scale', layers=dict(last=1))], [dict(type='scale', start=0.5, targets='fc2')]
        stock, model, other = vit(tiny), *(vit(tiny, kind) for kind in kinds)
    finally:
        ADAPTERS.module_dict.pop('scale')
    assert torch.equal(output(model, Domain.CLEAN, X), stock(X)[0])
    assert list(adapted_layers(other)) == [f'layers.{number}.ffn.layers.1' for number in (0, 1)]
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            factor = 1 + layer.scale.scale_adv
            layer.weight.mul_(factor[:, None])
            layer.bias.mul_(factor)
    merged = output(model, Domain.CLEAN, X)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.weight.div_(1 + layer.scale.scale_adv[:, None])
            layer.bias.div_(1 + layer.scale.scale_adv)
    torch.testing.assert_close(output(model, Domain.ADV, X), merged)
