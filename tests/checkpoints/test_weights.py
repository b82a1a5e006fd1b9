"""Weights are found in whatever wraps them, and what cannot be weights is named."""

import re
from unittest import mock

import pytest
import torch
from mmengine.runner import load_checkpoint
from safetensors.torch import save_file

import aemim_mm
from aemim_mm.checkpoints.fit import check_checkpoint
from aemim_mm.checkpoints.reading import checkpoint_loading, read_checkpoint
from aemim_mm.checkpoints.tensors import refuse_faulty
from aemim_mm.checkpoints.weights import weights_of
from aemim_mm.errors import UserError

PLAIN = {'backbone.cls_token': torch.ones(1, 1, 4), 'head.fc.weight': torch.ones(2, 4)}
OTHER = {name: 2 * value for name, value in PLAIN.items()}


def under(prefix, state=PLAIN):
    return {prefix + name: value for name, value in state.items()}


COMPILED = {'backbone._orig_mod.cls_token': PLAIN['backbone.cls_token'], 'head.fc.weight': PLAIN['head.fc.weight']}
LIGHTNING = dict(state_dict={**under('model.'), 'criterion.weight': torch.ones(3)}, callbacks={}, epoch=3)


@pytest.mark.parametrize(
    ('content', 'note'),
    [
        (PLAIN, ''),
        (dict(state_dict=PLAIN, optimizer=dict(state={0: dict(exp_avg=torch.ones(1))}, param_groups=[])), ''),
        (dict(weights=PLAIN, epoch=3), "the weights are in 'weights'"),
        (dict(model_ema=PLAIN, dino_loss=dict(center=torch.ones(1))), "the weights are in 'model_ema'"),
        (dict(checkpoint=dict(model=PLAIN)), "the weights are in 'checkpoint.model'"),
        (dict(state_dict=under('module.')), "'module.' removed from the names"),
        (under('_orig_mod.module.'), "'_orig_mod.module.' removed from the names"),
        (COMPILED, "'_orig_mod.' removed from the names"),
        (under('_fsdp_wrapped_module.'), "'_fsdp_wrapped_module.' removed from the names"),
        ({'module.backbone.cls_token': torch.ones(1, 1, 4), 'head.fc.weight': torch.ones(2, 4)}, "'module.' removed"),
        ({'n_averaged': torch.tensor(3), **under('module.')}, "'module.' removed from the names"),
        (LIGHTNING, "'model.' removed from the names"),
        (under('_orig_mod.net.'), "'_orig_mod.' and 'net.' removed from the names"),
        (dict(state_dict=PLAIN, ema_state_dict=OTHER), "'state_dict' is taken; .* name x.pth#ema_state_dict"),
        (dict(model=PLAIN, model_ema=OTHER), "'model' is taken; for other weights .* name x.pth#model_ema"),
    ],
)
def test_wrappers_are_removed_and_reported(content, note):
    weights = weights_of(content, 'x.pth')
    assert weights.tensors.keys() == PLAIN.keys() and re.match(note, '; '.join(weights.notes))
    assert bool(weights.notes) == bool(note)
    assert all(torch.equal(value, PLAIN[name]) for name, value in weights.tensors.items())


def test_a_tokenizer_with_a_codebook_keeps_its_names():
    saved = {'encoder.layers.0.ln1.weight': torch.ones(4), 'quantize.embedding.weight': torch.ones(8, 4)}
    assert weights_of(saved).state is saved


def test_a_model_that_mmengine_saved_keeps_its_names():
    saved = dict(state_dict=under('student.'), meta={}, message_hub={})
    assert weights_of(saved).state is saved['state_dict']


def test_other_sets_are_named_with_the_way_to_choose():
    weights = weights_of(dict(model=PLAIN, model_ema=OTHER), 'x.pth')
    assert weights.left_out['model_ema'] == 'other weights: to take them, use CHECKPOINT#NAME, as in x.pth#model_ema'


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (dict(student=PLAIN, teacher=OTHER), 'x.pth holds several sets of weights: student, teacher. .*x.pth#student'),
        ({**PLAIN, **under('module.')}, 'has both backbone.cls_token and module.backbone.cls_token, which are one'),
        (dict(state={0: dict(exp_avg=torch.ones(1))}, param_groups=[]), "holds no weights, only 'state', 'param_gro"),
        ({}, 'holds no weights, only nothing'),
        ({**PLAIN, 0: torch.ones(1)}, 'x.pth has an entry 0 of type int among its weights. Expected names'),
    ],
)
def test_no_set_of_weights_is_guessed(content, words):
    with pytest.raises(UserError, match=words):
        weights_of(content, 'x.pth')


def test_student_and_teacher(tmp_path):
    path = tmp_path / 'dino.pth'
    torch.save(dict(student=under('module.'), teacher=OTHER, meta=dict(cfg='')), path)
    assert read_checkpoint(f'{path}#teacher') == dict(state_dict=mock.ANY, meta=dict(cfg=''))
    torch.save(dict(state_dict={**under('module.teacher.', OTHER), **under('module.student.')}), path)
    for name in ('teacher', 'state_dict.teacher'):
        assert read_checkpoint(f'{path}#{name}')['state_dict']['head.fc.weight'][0, 0] == 2
    with pytest.raises(UserError, match="has no 'ema', only 'state_dict'"):
        read_checkpoint(f'{path}#ema')
    path.rename(tmp_path / 'a#b.pth')
    assert 'teacher.head.fc.weight' in weights_of(read_checkpoint(tmp_path / 'a#b.pth')).state
    assert read_checkpoint(tmp_path / 'a#b.pth#teacher')['state_dict'].keys() == PLAIN.keys()


def test_mmengine_loads_what_was_checked(tiny, tmp_path, monkeypatch):
    """By load_from and by init_cfg: the report and the loading agree."""
    source, target = tiny.build(tiny.mae(), seed=1), tiny.build(tiny.mae(), seed=2)
    path, log = str(tmp_path / 'x.pth'), mock.Mock()
    monkeypatch.setattr('aemim_mm.checkpoints.weights.print_log', log)
    torch.save(dict(state_dict=under('_orig_mod.model.', source.state_dict())), path)
    check_checkpoint(target, path, 'all')
    assert log.call_args.args[0] == f"{path}: '_orig_mod.' and 'model.' removed from the names."
    backbone = tiny.build(tiny.mae(), seed=3, init=False).backbone
    backbone.init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    with checkpoint_loading():
        load_checkpoint(target, path, map_location='cpu')
        backbone.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])
        inner = name.removeprefix('backbone.')
        assert not name.startswith('backbone.layers.') or torch.equal(value, backbone.state_dict()[inner])
    both = {**under('student.', source.state_dict()), **under('teacher.', target.state_dict())}
    torch.save(dict(state_dict=both), path)
    with pytest.raises(UserError, match='x.pth holds several encoders. Choose one of .*#student, .*#teacher'):
        check_checkpoint(target, path, 'all')
    assert check_checkpoint(target, f'{path}#teacher', 'all').fitting
    with pytest.raises(UserError, match="no tensor whose name begins with 'model.', only 'backbone.*more"):
        check_checkpoint(target, f'{path}#teacher', 'most', 'model.')


FAULTS = [
    (torch.full((2, 4), torch.nan), 'has NaN or infinite values'),
    (torch.full((2, 4), torch.inf).half(), 'has NaN or infinite values'),
    (torch.ones(2, 4, dtype=torch.int8), 'has integers (torch.int8)'),
    (torch.ones(2, 4, dtype=torch.complex64), 'is complex (torch.complex64)'),
    (torch.ones(2, 4).to_sparse(), 'is sparse (torch.sparse_coo)'),
    (torch.quantize_per_tensor(torch.ones(2, 4), 0.1, 0, torch.qint8), 'is quantized (torch.qint8)'),
    (torch.ones(2, 4, device='meta'), 'has no data (device meta)'),
]


@pytest.mark.parametrize(('value', 'words'), FAULTS)
@pytest.mark.parametrize('model', [None, torch.nn.Linear(4, 2)], ids=['export', 'load'])
def test_what_is_no_weight_is_named(value, words, model):
    with pytest.raises(UserError, match=re.escape(f'x.pth: the tensor weight {words}.')):
        refuse_faulty(dict(weight=value), 'x.pth', model)


def test_what_passes():
    for value in (torch.full((9, 9), 6e4, dtype=torch.float16), torch.full((9, 9), 3e38), torch.ones(1).expand(9, 9)):
        refuse_faulty(dict(weight=value), 'x.pth')
    model = torch.nn.BatchNorm1d(2)
    model.register_buffer('mask', torch.zeros(2, 2))
    model.register_buffer('queue_pointer', torch.zeros(1, dtype=torch.long))
    state = model.state_dict()
    refuse_faulty({**state, 'mask': torch.full((2, 2), -torch.inf)}, 'x.pth', model)
    with pytest.raises(UserError, match='the tensor running_var has NaN'):
        refuse_faulty({**state, 'running_var': torch.full((2,), torch.nan)}, 'x.pth', model)


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


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_names_of_another_library_are_converted_by_the_export(tiny, timm_state, prefix, tmp_path):
    torch.save(under('backbone.', timm_state), tmp_path / 'x.pth')
    model = tiny.build(tiny.mae())
    with pytest.raises(UserError, match='of another library, such as .*Convert it with tools/export.py .* --to aemim'):
        check_checkpoint(model.backbone if prefix else model, str(tmp_path / 'x.pth'), 'most', prefix)


def test_two_encoders_in_one_file_are_a_choice(timm_state, tmp_path):
    state = {**under('student.', timm_state), **under('teacher.', timm_state)}
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='several encoders. Choose one of .*x.pth#student, .*x.pth#teacher'):
        aemim_mm.load_encoder(tmp_path / 'x.pth', num_heads=1)
    aemim_mm.load_encoder(f'{tmp_path}/x.pth#teacher', num_heads=1)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'<!DOCTYPE html><html>', 'is a web page. Download the file itself.'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'is a pointer of Git LFS'),
        (b'<?xml version="1.0"?><Error>', "is an XML document, perhaps a server's error"),
        (b'', 'is empty'),
        (b'{"weight_map": {}}', 'is a JSON file, such as the index of weights in several files'),
        (b'GIF89a', 'cannot be read .*Expected a whole file made by torch.save'),
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
    with pytest.raises(UserError, match=r'states the std .* of its images. Expected finite numbers > 0'):
        aemim_mm.load_encoder(tmp_path, num_heads=1)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('.metadata', 'a folder of a distributed checkpoint of torch. Convert it'),
        ('model.safetensors.index.json', 'a folder of weights in several files'),
        ('epoch_1.pth', 'a folder of checkpoints. Pass one of them'),
        ('readme', 'a folder of other things. Pass a file'),
    ],
)
def test_folders(name, words, tmp_path):
    (tmp_path / name).touch()
    for read in (read_checkpoint, aemim_mm.load_encoder):
        with pytest.raises(UserError, match=words):
            read(tmp_path)


def test_safetensors_are_known_by_their_content(timm_state, tmp_path):
    save_file(timm_state, tmp_path / 'x.bin')
    assert read_checkpoint(tmp_path / 'x.bin').keys() == timm_state.keys()
