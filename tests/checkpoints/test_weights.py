"""Weights are found in whatever wraps them, and what cannot be weights is named."""

import re

import pytest
import torch

import aemim_mm
from aemim_mm.checkpoints.fit import check_checkpoint
from aemim_mm.checkpoints.reading import checkpoint_loading, read_checkpoint
from aemim_mm.checkpoints.weights import weights_of
from aemim_mm.errors import UserError

PLAIN = {'backbone.cls_token': torch.ones(1, 1, 4), 'head.fc.weight': torch.ones(2, 4)}
OTHER = {name: 2 * value for name, value in PLAIN.items()}


def under(prefix, state=PLAIN):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ('content', 'removed'),
    [
        (PLAIN, ''),
        (dict(state_dict=PLAIN, ema_state_dict=OTHER, optimizer=dict(state={})), ''),
        (dict(model=PLAIN, model_ema=OTHER), ''),
        (dict(weights=PLAIN, epoch=3), ''),
        (dict(state_dict=under('module.')), 'module. or _orig_mod.'),
        (under('_orig_mod.'), 'module. or _orig_mod.'),
        (under('module._orig_mod.'), 'module. or _orig_mod.'),
        (
            {'backbone._orig_mod.cls_token': torch.ones(1, 1, 4), 'head.fc.weight': torch.ones(2, 4)},
            'module. or _orig_mod.',
        ),
        (dict(state_dict=under('model.'), **{'pytorch-lightning_version': '2'}), 'model.'),
        (under('_orig_mod.net.'), 'module. or _orig_mod. and net.'),
    ],
)
def test_wrappers_are_removed(content, removed):
    weights = weights_of(content)
    assert weights.state.keys() == PLAIN.keys() and weights.removed == removed
    assert all(torch.equal(value, PLAIN[name]) for name, value in weights.state.items())


def test_other_sets_are_named_with_the_way_to_choose():
    weights = weights_of(dict(model=PLAIN, model_ema=OTHER), 'x.pth')
    assert weights.left_out['model_ema'] == 'other weights: to take them, use CHECKPOINT#NAME, as in x.pth#model_ema'


def test_student_and_teacher(tmp_path):
    path = tmp_path / 'dino.pth'
    torch.save(dict(student=under('backbone.'), teacher=under('backbone.', OTHER), epoch=3), path)
    with pytest.raises(UserError, match=f'holds several sets of weights: student, teacher. .*{path}#student'):
        weights_of(read_checkpoint(path), path)
    assert read_checkpoint(f'{path}#teacher')['backbone.head.fc.weight'][0, 0] == 2
    torch.save(dict(state_dict={**under('teacher.', OTHER), **under('student.')}), path)
    assert read_checkpoint(f'{path}#teacher')['head.fc.weight'][0, 0] == 2
    with pytest.raises(UserError, match="has no 'ema', only 'state_dict'"):
        read_checkpoint(f'{path}#ema')
    path.rename(tmp_path / 'a#b.pth')
    assert 'state_dict' in read_checkpoint(tmp_path / 'a#b.pth')


def test_mmengine_loads_what_was_checked(tiny, tmp_path):
    """By load_from and by init_cfg: the report and the loading agree."""
    source, target = tiny.build(tiny.mae(), seed=1), tiny.build(tiny.mae(), seed=2)
    torch.save(dict(state_dict=under('_orig_mod.model.', source.state_dict())), tmp_path / 'x.pth')
    report = check_checkpoint(target, str(tmp_path / 'x.pth'), 'all')
    assert str(report).splitlines()[1] == '  module. or _orig_mod. and model. removed from the names'
    backbone = tiny.build(tiny.mae(), seed=3, init=False).backbone
    backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'), prefix='backbone.')
    with checkpoint_loading():
        backbone.init_weights()
    expected, got = source.backbone.layers.state_dict(), backbone.layers.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in got.items())


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (torch.full((2, 4), torch.nan), 'has NaN or infinite values'),
        (torch.full((2, 4), torch.inf).half(), 'has NaN or infinite values'),
        (torch.ones(2, 4, dtype=torch.int8), 'has integers (torch.int8)'),
        (torch.ones(2, 4, dtype=torch.complex64), 'is complex (torch.complex64)'),
        (torch.ones(2, 4).to_sparse(), 'is sparse (torch.sparse_coo)'),
        (torch.quantize_per_tensor(torch.ones(2, 4), 0.1, 0, torch.qint8), 'is quantized (torch.qint8)'),
        (torch.ones(2, 4, device='meta'), 'has no data (device meta)'),
    ],
)
def test_what_is_no_weight_is_named(value, words):
    with pytest.raises(UserError, match=re.escape(f'x.pth: the tensor head.fc.weight {words}.')):
        weights_of({**PLAIN, 'head.fc.weight': value}, 'x.pth')


def test_large_finite_half_precision_weights_pass():
    assert weights_of({'head.fc.weight': torch.full((9, 9), 6e4, dtype=torch.float16)}).state
    assert weights_of({'head.fc.weight': torch.full((9, 9), 3e38)}).state


@pytest.fixture(scope='module')
def timm_state():
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    settings = dict(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0)
    return timm.models.VisionTransformer(**settings).state_dict()


@pytest.mark.parametrize(
    'wrapped',
    [
        lambda state: under('_orig_mod.', state),
        lambda state: dict(state_dict=under('model.encoder.', state)),
        lambda state: {**under('backbone.', state), 'head.mlp.weight': torch.ones(3, 3)},
        lambda state: {
            name: value.reshape(-1)[:1].expand(value.numel()).view(value.shape) if 'bias' in name else value
            for name, value in state.items()
        },
    ],
)
def test_load_encoder_finds_the_layout_behind_a_prefix(timm_state, wrapped, tmp_path):
    torch.save(wrapped(timm_state), tmp_path / 'x.pth')
    encoder = aemim_mm.load_encoder(tmp_path / 'x.pth', num_heads=1)
    assert torch.equal(encoder.backbone.cls_token, timm_state['cls_token'])


def test_two_encoders_in_one_file_are_a_choice(timm_state, tmp_path):
    state = {**under('student.', timm_state), **under('teacher.', timm_state)}
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='several encoders: student., teacher.. Choose one .*x.pth#student'):
        aemim_mm.load_encoder(tmp_path / 'x.pth', num_heads=1)
    aemim_mm.load_encoder(f'{tmp_path}/x.pth#teacher', num_heads=1)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'<!DOCTYPE html><html>', 'is a web page. Download the file itself.'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'is a pointer of Git LFS'),
        (b'', 'cannot be read'),
    ],
)
def test_what_is_saved_in_place_of_a_checkpoint(content, words, tmp_path):
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_checkpoint(tmp_path / 'x.pth')


def test_metadata_of_hugging_face(timm_state, tmp_path):
    torch.save(timm_state, tmp_path / 'pytorch_model.bin')
    (tmp_path / 'config.json').write_text('[1, 2]')
    with pytest.raises(UserError, match='config.json holds a list, not an object of fields'):
        aemim_mm.load_encoder(tmp_path, num_heads=1)
    (tmp_path / 'config.json').write_text('{}')
    (tmp_path / 'preprocessor_config.json').write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0, 0.5]}')
    with pytest.raises(UserError, match=r'states the deviation .* of its images. Expected numbers > 0'):
        aemim_mm.load_encoder(tmp_path, num_heads=1)
