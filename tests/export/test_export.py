"""All exports account for every tensor, hold one domain, write whole files, and fail with one clear error."""

import errno
import json
import os
import pickle

import pytest
import torch
from helpers.encoders import ARCH, assert_close, features, mae_config, randomized, saved
from helpers.tiny import build
from mmpretrain.registry import MODELS
from safetensors.torch import load_file

from aemim_mm.errors import UserError
from aemim_mm.export import TARGETS, export, read_source
from aemim_mm.export.stored import fields_of_config

SEVERAL = [to for to in TARGETS if to != 'huggingface']


def exported(checkpoint, to, folder, **kwargs):
    """Export; return the report and the tensors of the file."""
    report = export(checkpoint, to, out=folder / ('hf' if to == 'huggingface' else 'x.safetensors'), **kwargs)
    return report, load_file(report.path / 'model.safetensors' if to == 'huggingface' else report.path)


@pytest.mark.parametrize('to', TARGETS)
@pytest.mark.parametrize('domain', ['clean', 'adv'])
def test_nothing_of_the_other_domain_leaks(aemim, to, domain, tmp_path):
    """The adapters of the other domain are set to NaN. None may be exported under any name."""
    state = {name: value.clone() for name, value in aemim.state_dict().items()}
    other = 0
    for name in state:
        is_clean_adapter = f'{name}_adv' in state
        if name.endswith('_adv') if domain == 'clean' else is_clean_adapter:
            state[name].fill_(torch.nan)
            other += 1
    torch.save(state, tmp_path / 'epoch.pth')
    report, written = exported(tmp_path / 'epoch.pth', to, tmp_path, domain=domain, num_heads=3)
    assert other == 13  # Two norms in each of two layers, the final norm, the class token and the prediction layer.
    assert all(value.isfinite().all() and not name.endswith('_adv') for name, value in written.items())
    assert sum('_adv' in name for name in report.left_out) == (13 if domain == 'clean' else 0)


@pytest.mark.parametrize('to', TARGETS)
def test_every_tensor_is_written_or_listed(aemim, checkpoint, to, tmp_path):
    report, written = exported(checkpoint, to, tmp_path)
    names = set(aemim.state_dict())
    left_out = names & report.left_out.keys()
    # Hugging Face has three tensors for our qkv, for weights and biases of 2 + 2 layers.
    more = 2 * 8 if to == 'huggingface' else 0
    assert len(written) == report.written == len(names) - len(left_out) + more
    assert report.left_out.keys() - names == {'meta', 'optimizer'}
    for name, reason in report.left_out.items():
        assert reason and reason in str(report), name
    decoder = {name for name in names if name.startswith('neck.') and not name.endswith('_adv')}
    assert decoder.isdisjoint(left_out) == (to in ('aemim', 'mae', 'huggingface'))


def test_names_of_the_files(checkpoint, tmp_path):
    path = tmp_path / 'epoch_8.pth'
    path.write_bytes(checkpoint.read_bytes())
    assert export(path, 'timm').path == tmp_path / 'epoch_8_timm.safetensors'
    assert export(path, 'timm', domain='adv', img_size=48).path == tmp_path / 'epoch_8_timm_adv_48px.safetensors'
    assert export(path, 'vitdet', img_size=(48, 32)).path == tmp_path / 'epoch_8_vitdet_48x32px.safetensors'
    assert export(f'{path}#state_dict', 'timm').path == tmp_path / 'epoch_8_state_dict_timm.safetensors'
    folder = export(path, 'huggingface').path
    assert folder == tmp_path / 'epoch_8_huggingface' and folder.is_dir()
    # The same for a folder.
    assert export(folder, 'timm').path == tmp_path / 'epoch_8_huggingface_timm.safetensors'


@pytest.mark.parametrize('to', TARGETS)
def test_no_file_is_overwritten_unasked(checkpoint, to, tmp_path):
    report, written = exported(checkpoint, to, tmp_path)
    file = report.path / 'model.safetensors' if to == 'huggingface' else report.path
    before = file.read_bytes()
    with pytest.raises(UserError, match='is there already.*--force'):
        exported(checkpoint, to, tmp_path, domain='adv')
    assert file.read_bytes() == before
    exported(checkpoint, to, tmp_path, domain='adv', force=True)
    assert file.read_bytes() != before


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_a_failure_leaves_nothing(checkpoint, suffix, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match=f'x{suffix} could not be saved: No space left on device'):
        export(checkpoint, 'timm', out=tmp_path / f'x{suffix}')
    assert not list(tmp_path.iterdir())


def test_bad_outputs(checkpoint, tmp_path):
    with pytest.raises(UserError, match=r'ends in .safetensors or .pth, but got .*x.onnx'):
        export(checkpoint, 'timm', out=tmp_path / 'x.onnx')
    (tmp_path / 'x.pth').mkdir()
    with pytest.raises(UserError, match='is a folder'):
        export(checkpoint, 'timm', out=tmp_path / 'x.pth', force=True)
    with pytest.raises(UserError, match="Unknown target 'onnx'"):
        export(checkpoint, 'onnx')
    with pytest.raises(UserError, match="Unknown domain 'aux'"):
        export(checkpoint, 'timm', domain='aux', out=tmp_path / 'y.pth')


def broken(aemim, folder, change):
    """Write a checkpoint whose tensors ``change`` has changed in place."""
    state = {name: value for name, value in aemim.state_dict().items() if not name.endswith('_adv')}
    change(state)
    torch.save(state, folder / 'broken.pth')
    return folder / 'broken.pth'


BROKEN = {
    'missing layer': (
        lambda state: [state.pop(name) for name in list(state) if 'backbone.layers.0.' in name],
        'holds no whole encoder: backbone.layers.0.ln1.weight',
    ),
    'no patch embedding': (
        lambda state: state.pop('backbone.patch_embed.projection.weight'),
        'no whole encoder: backbone.patch_embed.projection.weight',
    ),
    'no class token': (lambda state: state.pop('backbone.cls_token'), 'no whole encoder: backbone.cls_token'),
    'layer scale': (
        lambda state: state.update({'backbone.layers.1.gamma1.weight': torch.ones(48)}),
        'a plain encoder has no backbone.layers.1.gamma1.weight: without it, it would compute something else',
    ),
    'mixed': (
        lambda state: state.update({'blocks.0.norm1.weight': torch.ones(48)}),
        r'mixes names of aemim or mmpretrain.* and of facebookresearch/mae',
    ),
    'unknown': (
        lambda state: [state.update({f'conv{i}.weight': state.pop(name)}) for i, name in enumerate(list(state))],
        r'has conv0.weight, conv1.weight, .* more, and no names of a layout that is known. Known: aemim or mmpretrain',
    ),
    'empty': (dict.clear, 'holds no weights, only nothing'),
    'number of heads': (lambda state: None, r'cannot be known from the shapes of an encoder 48 wide.*--num-heads'),
}  # fmt: skip


@pytest.mark.parametrize('kind', BROKEN)
def test_broken_checkpoints(aemim, kind, tmp_path):
    change, message = BROKEN[kind]
    path = broken(aemim, tmp_path, change)
    with pytest.raises(UserError, match=message):
        export(path, 'timm', out=tmp_path / 'x.pth')
    assert not (tmp_path / 'x.pth').exists()


def test_what_is_stored_may_be_anything(aemim, tmp_path):
    nonsense = dict(num_heads='3', img_size=[32, 'x'], mean=3, std=[], eps='small', to_rgb=1, other=[1])
    torch.save(dict(state_dict=aemim.state_dict(), meta=dict(aemim_mm=nonsense)), tmp_path / 'x.pth')
    spec = read_source(tmp_path / 'x.pth', num_heads=3).spec
    assert (spec.num_heads, spec.img_size, spec.eps, spec.to_rgb) == (3, (32, 32), 1e-6, True)
    assert spec.mean == (123.675, 116.28, 103.53)


def test_heads_that_do_not_divide_the_width(checkpoint, tmp_path):
    with pytest.raises(UserError, match='5 attention heads do not divide the width of the encoder, 48'):
        export(checkpoint, 'timm', out=tmp_path / 'x.pth', num_heads=5)


def test_a_stock_model_has_no_adversarial_domain(tmp_path):
    config = mae_config('MAE')
    path = saved(build(config), config, tmp_path / 'mae.pth')
    with pytest.raises(UserError, match='has no adversarial adapters'):
        export(path, 'timm', domain='adv')


def test_an_adapter_without_a_stock_counterpart(aemim, tmp_path):
    state = {**aemim.state_dict(), 'backbone.layers.0.lora_a_adv': torch.ones(2, 2)}
    torch.save(state, tmp_path / 'x.pth')
    assert 'backbone.layers.0.lora_a_adv' in read_source(tmp_path / 'x.pth', num_heads=3).left_out
    with pytest.raises(UserError, match='has backbone.layers.0.lora_a_adv, which stock models have no place for'):
        read_source(tmp_path / 'x.pth', num_heads=3, domain='adv')


@torch.no_grad()
def test_averaged_weights_are_what_state_dict_has(aemim, images, tmp_path):
    """mmengine's EMAHook saves the averaged weights as ``state_dict``."""
    config = mae_config()
    model = randomized(build(config), seed=9)
    path = saved(model, config, tmp_path / 'epoch.pth')
    other = {f'module.{name}': value for name, value in aemim.state_dict().items()}
    torch.save({**torch.load(path), 'ema_state_dict': other}, path)
    source = read_source(path)
    assert torch.equal(source.state['backbone.ln1.weight'], model.backbone.ln1.weight)
    assert source.left_out['ema_state_dict'].startswith('not the average')


def test_an_encoder_with_two_norms_is_not_timms(tmp_path):
    config = dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8, out_type='avg_featmap')
    torch.save(MODELS.build(config).state_dict(), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='a norm before and another after the mean over patches'):
        export(tmp_path / 'x.pth', 'timm', num_heads=3)
    config = dict(config, final_norm=False)
    torch.save(MODELS.build(config).state_dict(), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='fine-tuned without its final norm'):
        export(tmp_path / 'x.pth', 'huggingface', num_heads=3)


def test_the_config_in_a_checkpoint_is_read_and_never_run(tmp_path):
    mark = tmp_path / 'ran'
    code = f'__import__("pathlib").Path({str(mark)!r}).touch()'
    for text in (
        f'model = dict(backbone=dict(arch={code}))',
        f'data_preprocessor = dict(mean=[{code}])\n{code}',
        f'model = dict(**{code})',
        'model = (',
        'model = ' + '[' * 5000,
        'model = [1]',
    ):
        assert fields_of_config(text) in ({}, dict(img_size=224))
    assert not mark.exists()
    text = (
        "model = dict(backbone=dict(arch='large', norm_cfg={'type': 'LN', 'eps': 1e-5}), head=dict(norm_pix=True),"
        ' neck=dict(decoder_num_heads=8))\ndata_preprocessor = dict(mean=[1, 2.5, 3], std=(-1, 4, 5), to_rgb=True)'
    )
    assert fields_of_config(text) == dict(
        num_heads=16, decoder_num_heads=8, img_size=224, eps=1e-5, norm_pix=True, mean=[1, 2.5, 3], std=[-1, 4, 5],
        to_rgb=True,
    )  # fmt: skip


def test_what_the_library_must_be_told(tmp_path):
    config = mae_config(backbone=dict(norm_cfg=dict(type='LN', eps=1e-3)), data_preprocessor=dict(to_rgb=False))
    path = saved(build(config), config, tmp_path / 'x.pth')
    text = str(export(path, 'mmpretrain'))
    assert 'trained with eps=0.001' in text and 'blue, green, red' in text
    folder = export(path, 'huggingface').path
    assert json.loads((folder / 'config.json').read_text())['layer_norm_eps'] == 1e-3


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (exec, (f'open({str(self.mark)!r}, "w").close()',))


def test_a_pickle_that_runs_code_is_refused(aemim, tmp_path):
    mark, path = tmp_path / 'ran', tmp_path / 'x.pth'
    torch.save(dict(state_dict=aemim.state_dict(), meta=dict(extra=Malicious(mark))), path)
    with pytest.raises(UserError, match='needs code'):
        export(path, 'timm', num_heads=3)
    (tmp_path / 'hf').mkdir()
    (tmp_path / 'hf/pytorch_model.bin').write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(UserError):
        export(tmp_path / 'hf', 'timm')
    assert not mark.exists()
    export(path, 'timm', num_heads=3, trusted=True)
    assert mark.exists()


@torch.no_grad()
def test_all_targets_agree_after_a_second_export(aemim, checkpoint, images, tmp_path):
    """Converting each layout back to ours gives the same features."""
    for to in SEVERAL:
        if to == 'vitdet':
            continue
        path = export(checkpoint, to, out=tmp_path / f'{to}.pth').path
        back = export(path, 'aemim', out=tmp_path / f'{to}_back.pth', num_heads=3).path
        model = build(mae_config(), seed=11).eval()
        model.load_state_dict(torch.load(back)['state_dict'], strict=False)
        assert_close(features(model, images), features(aemim, images), atol=0)


@pytest.mark.parametrize('to', TARGETS)
def test_the_decoder_of_crossmae_goes_nowhere_but_to_this_project(to, tmp_path):
    """It shares some names with MAE's decoder: a file with these alone would hold a part of a decoder."""
    config = mae_config()
    config['neck'] = dict(
        type='AEMIMCrossDecoder', img_size=32, patch_size=8, embed_dim=48, encoder_depth=2, decoder_depth=2
    )
    model = randomized(build(config))
    report, written = exported(saved(model, config, tmp_path / 'epoch.pth'), to, tmp_path)
    decoder = {name for name in model.state_dict() if name.startswith('neck.') and not name.endswith('_adv')}
    assert decoder & report.left_out.keys() == (set() if to == 'aemim' else decoder)
    assert any('decoder' in name for name in written) == (to == 'aemim')
