"""The tokenizers of CIM: a VQ-VAE of ours, and OpenAI's with its decoder."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import cim, processes, tiny
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS

from aemim_mm.models.baselines import DALLEDecoder

TINY = dict(n_init=4, n_hid=4, n_blk_per_group=1, vocab_size=6)


def vq(seed=0, **changes):
    return tiny.build(dict(cim.TOKENIZER, **changes), seed)


def test_a_token_is_the_nearest_code():
    model = vq()
    pixels = tiny.pixels(4, (16, 16))
    before = tiny.snapshot(model)
    tokens = model.tokens(pixels)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    vectors = model.encoder(pixels / 127.5 - 1).detach().numpy().transpose(0, 2, 3, 1)[..., None, :]
    vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    codes = model.quantizer.embedding.weight.numpy()
    assert np.array_equal(tokens.numpy(), ((vectors - codes) ** 2).sum(-1).argmin(-1))
    assert tokens.shape == (4, 4, 4) and len(tokens.unique()) > 1
    # mmpretrain's quantizer finds the same ones.
    model.quantizer.embedding.initted.fill_(1)
    assert torch.equal(model.quantizer.eval()(model.encoder(pixels / 127.5 - 1))[2], tokens.flatten())


def test_a_tokenizer_learns_to_draw_what_it_reads():
    model = vq(channels=16, vocab_size=64, embed_dims=8, decay=0.9)
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=5e-3))
    batches = [dict(inputs=tiny.pixels(32, (16, 16), seed=seed)) for seed in range(8)]
    logs = [model.train_step(batches[step % 8], optim) for step in range(150)]
    assert logs[-1]['perplexity'] > 20 and logs[-1]['loss_pixels'] < 0.6 * logs[0]['loss_pixels']
    model.eval()
    pixels = tiny.pixels(16, (16, 16), seed=9)
    tokens = model(pixels)
    drawn = model.pixels(tokens)
    assert drawn.min() >= 0 and drawn.max() <= 255
    assert (drawn - pixels).square().mean() < 0.7 * (pixels - pixels.mean(0)).square().mean()
    # Most tokens of a drawing are those that it was drawn from.
    assert (model.tokens(drawn) == tokens).float().mean() > 0.8


def first_codes(rank, folder):
    model = vq()
    model.loss(tiny.pixels(8, (16, 16), seed=rank))
    torch.save(model.quantizer.state_dict(), f'{folder}/{rank}.pth')


def test_processes_have_the_same_codes(tmp_path):
    processes.on_ranks(first_codes, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2))
    start = vq().quantizer.state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]) and not torch.equal(value, start[name]), name


def released_shapes():
    """Return the names and shapes of the parameters in OpenAI's decoder.pkl, as their code builds it."""
    shapes, before = {'input': (128, 8192, 1)}, 128
    for group, width in enumerate((2048, 1024, 512, 256), 1):
        for block in (1, 2):
            name, hidden = f'group_{group}.block_{block}', width // 4
            if block == 1:
                shapes[f'{name}.id_path'] = (width, before, 1)
            sizes = (hidden, before, 1), (hidden, hidden, 3), (hidden, hidden, 3), (width, hidden, 3)
            shapes |= {f'{name}.res_path.conv_{number}': size for number, size in enumerate(sizes, 1)}
            before = width
    shapes['output.conv'] = (6, 256, 1)
    weights = {f'blocks.{name}.w': (*size, size[-1]) for name, size in shapes.items()}
    return weights | {f'blocks.{name}.b': size[:1] for name, size in shapes.items()}


def test_the_decoder_has_the_parameters_of_the_release():
    decoder = DALLEDecoder()
    found = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    assert found == released_shapes()


def reference(state, tokens):
    """Decode tokens as OpenAI's notebook does, from one-hot maps."""

    def conv(name, maps):
        weight = state[f'blocks.{name}.w']
        return F.conv2d(maps, weight, state[f'blocks.{name}.b'], padding=weight.shape[-1] // 2)

    maps = conv('input', F.one_hot(tokens, 6).permute(0, 3, 1, 2).float())
    for group in range(1, 5):
        name = f'group_{group}.block_1'
        residual = maps
        for number in range(1, 5):
            residual = conv(f'{name}.res_path.conv_{number}', residual.clamp(min=0))
        same = f'blocks.{name}.id_path.w' not in state
        maps = (maps if same else conv(f'{name}.id_path', maps)) + residual / 16
        if group < 4:
            maps = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    stats = conv('output.conv', maps.clamp(min=0))
    return ((torch.sigmoid(stats[:, :3]) - 0.1) / 0.8).clamp(0, 1)


def random_state(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(value.shape, generator=generator) for name, value in module.state_dict().items()}


def test_published_weights_load_and_give_the_images_of_the_release(tmp_path):
    sizes = dict(encoder=dict(n_hid=4, n_blk_per_group=1, vocab_size=6), decoder=TINY)
    parts = MODELS.build(dict(type='DALLETokenizer', **sizes))
    for number, name in enumerate(('encoder', 'decoder')):
        torch.save(random_state(getattr(parts, name), number), tmp_path / f'{name}.pth')
        sizes[name] = dict(sizes[name], init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / f'{name}.pth')))
    model = tiny.build(dict(type='DALLETokenizer', **sizes))
    assert (model.stride, model.vocab_size) == (8, 6)
    tokens = torch.randint(6, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    state = torch.load(tmp_path / 'decoder.pth', weights_only=True)
    with torch.no_grad():
        drawn = model.pixels(tokens)
    assert drawn.shape == (2, 3, 24, 32) and ((drawn > 0) & (drawn < 255)).float().mean() > 0.5
    torch.testing.assert_close(drawn, 255 * reference(state, tokens), atol=1e-2, rtol=1e-4)
    pixels = tiny.pixels(2, (24, 32))
    with torch.no_grad():
        assert torch.equal(model.tokens(pixels), model.encoder(0.8 * (pixels / 255) + 0.1).argmax(1))


@pytest.mark.parametrize('stride', [(7,), (2, 2), (3, 2)])
def test_strides_multiply(stride):
    model = vq(strides=stride)
    side = int(np.prod(stride)) * 3
    assert model.stride == np.prod(stride)
    assert model.tokens(tiny.pixels(1, (side, side))).shape == (1, 3, 3)
    assert model.pixels(torch.zeros(1, 3, 3, dtype=torch.long)).shape == (1, 3, side, side)
