"""No tool runs code from a checkpoint unless the user asks for it."""

import argparse
import functools
import os
import pickle
import shlex
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from helpers import runs
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import MODELS
from safetensors.torch import save_file

from aemim_mm.checkpoints.reading import checkpoint_loading, read_checkpoint
from aemim_mm.datasets import of_config
from aemim_mm.errors import UserError


class Call:
    """An object that, when unpickled, calls ``function``, which may itself be such an object."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):
        """pickle requires the function of a call to be callable."""


def attack(kind, marker) -> Call:
    """Make an object that, when unpickled, creates the file ``marker``."""
    code = f'open({str(marker)!r}, "w").close()'
    # With an unrestricted getattr, the allowed names lead to Python's eval.
    mean = Call(getattr, HistoryBuffer, 'mean')
    builtins = Call(Call(getattr, Call(getattr, mean, '__globals__'), 'get'), '__builtins__')
    return {
        'system': Call(os.system, f'touch {shlex.quote(str(marker))}'),
        'eval': Call(eval, code),
        'getattr': Call(Call(Call(getattr, builtins, 'get'), 'eval'), code),
        'mkdir': Call(os.mkdir, str(marker)),
        'partial': Call(Call(functools.partial, os.mkdir, str(marker))),
    }[kind]


@pytest.fixture
def marker(tmp_path):
    return tmp_path / 'marker'


@pytest.mark.parametrize('kind', ['system', 'eval', 'getattr', 'mkdir', 'partial'])
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_code_is_not_run_and_is_named(tmp_path, marker, kind, zipped):
    path = tmp_path / 'bad.pth'
    content = dict(state_dict=dict(weight=torch.ones(2)), meta=attack(kind, marker))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=f'{path} needs code that .*: .*{kind}.* not run.* --trust-checkpoint only if'):
        read_checkpoint(path)
    assert not marker.exists()
    read_checkpoint(path, trusted=True)
    assert marker.exists()


def as_tar(path, content):
    (path.parent / 'storages').write_bytes(pickle.dumps(content))
    with tarfile.open(path, 'w') as archive:
        for name in ('storages', 'tensors', 'pickle'):
            archive.add(path.parent / 'storages', name)


def as_bare_pickle(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))


def as_new_pickle(path, content):
    path.write_bytes(pickle.dumps(content, protocol=4))


def as_zip(path, content):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps(content, protocol=2))
        archive.writestr('archive/version', '3\n')


@pytest.mark.parametrize('disguise', [as_tar, as_bare_pickle, as_new_pickle, as_zip])
@pytest.mark.parametrize('kind', ['system', 'getattr'])
def test_no_disguise_helps(tmp_path, marker, disguise, kind):
    path = tmp_path / 'bad.pth'
    disguise(path, attack(kind, marker))
    with pytest.raises(UserError, match=f'The checkpoint {path} (needs code|cannot be read)'):
        read_checkpoint(path)
    assert not marker.exists()
    # The attack works without protection.
    pickle.loads(pickle.dumps(attack(kind, marker)))
    assert marker.exists()


def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / 'script.pth'
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match=f'{path} is a TorchScript archive, which is a program. Save the weights alone'):
        read_checkpoint(path)


def test_an_array_of_objects_is_refused(tmp_path):
    torch.save(dict(array=np.array([dict()], dtype=object)), tmp_path / 'objects.pth')
    with pytest.raises(UserError, match='needs code .*numpy.dtype'):
        read_checkpoint(tmp_path / 'objects.pth')


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_what_checkpoints_hold_is_read_as_it_was(tmp_path, zipped):
    log = HistoryBuffer([1.5, 2.5], [1, 3])
    content = dict(
        model=dict(weight=torch.arange(6.0).view(2, 3).T, half=torch.ones(2, dtype=torch.bfloat16)),
        shared=torch.nn.Parameter(torch.ones(2)),
        args=argparse.Namespace(lr=1e-3, device='cuda', betas=(0.9, 0.95)),
        message_hub=dict(log_scalars=dict(loss=log), runtime_info=dict(step=np.int64(7), scale=np.float32(0.5))),
        arrays=[np.arange(3), np.ones((2, 2), np.float32), np.array(['a', 'bc']), np.zeros(2, bool)],
        odd=({1, 2}, 1 + 2j, b'bytes', torch.Size([1]), torch.float16, torch.device('cpu')),
    )
    torch.save(content, tmp_path / 'whole.pth', _use_new_zipfile_serialization=zipped)
    got = read_checkpoint(tmp_path / 'whole.pth')
    assert got['args'] == content['args'] and got['odd'] == content['odd']
    for name, value in content['model'].items():
        assert torch.equal(got['model'][name], value) and got['model'][name].dtype == value.dtype
    assert isinstance(got['shared'], torch.nn.Parameter)
    read = got['message_hub']['log_scalars']['loss']
    assert isinstance(read, HistoryBuffer) and read.mean() == log.mean() and read.statistics('max') == 2.5
    assert got['message_hub']['runtime_info'] == dict(step=7, scale=0.5)
    for array, expected in zip(got['arrays'], content['arrays']):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_numpy_of_either_major_version(tmp_path):
    """NumPy 1 and NumPy 2 pickle under different module names."""
    torch.save(dict(array=np.arange(3)), tmp_path / 'own.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'own.pth').read_bytes()
    own, other = b'numpy._core.multiarray', b'numpy.core.multiarray'
    if own not in content:
        own, other = other, own
    assert own in content
    (tmp_path / 'other.pth').write_bytes(content.replace(own, other))
    assert read_checkpoint(tmp_path / 'other.pth')['array'].tolist() == [0, 1, 2]


def test_safetensors_home_and_errors(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    path = tmp_path / 'some.safetensors'
    save_file(dict(weight=torch.arange(3)), path)
    assert read_checkpoint('~/some.safetensors')['weight'].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match='cannot be read .*made by safetensors'):
        read_checkpoint(path)
    with pytest.raises(UserError, match='There is no checkpoint .*gone.pth'):
        read_checkpoint(tmp_path / 'gone.pth')
    with pytest.raises(UserError, match='s3://bucket/a.pth is no file, no .*URL and no known name. Download it'):
        read_checkpoint('s3://bucket/a.pth')
    with pytest.raises(UserError, match='torchvision://resnet51 is no file'):
        read_checkpoint('torchvision://resnet51')


def test_a_download_runs_nothing_either(server, marker):
    url, folder = server
    torch.save(attack('system', marker), folder / 'bad.pth')
    with pytest.raises(UserError, match='bad.pth needs code'):
        read_checkpoint(f'{url}/bad.pth')
    assert not marker.exists()


@pytest.mark.parametrize('name', ['torchvision://resnet18', 'openmmlab://some', '{url}/bad.pth', '{file}'])
def test_mmengine_reads_by_us_within_only(server, marker, monkeypatch, name):
    """This includes names that mmengine resolves and loads itself."""
    url, folder = server
    torch.save(attack('system', marker), folder / 'bad.pth')
    known = {'resnet18': f'{url}/bad.pth', 'some': f'{url}/bad.pth'}
    for names in ('get_torchvision_models', 'get_external_models'):
        monkeypatch.setattr(f'mmengine.runner.checkpoint.{names}', lambda: known)
    before = dict(CheckpointLoader._schemes)
    path = name.format(url=url, file=folder / 'bad.pth')
    with checkpoint_loading():
        with pytest.raises(UserError, match='needs code'):
            CheckpointLoader.load_checkpoint(path)
        assert not marker.exists()
    with checkpoint_loading(trusted=True), pytest.raises(UserError, match='holds a int'):
        CheckpointLoader.load_checkpoint(path)
    assert marker.exists() and dict(CheckpointLoader._schemes) == before


def test_no_other_scheme_of_mmengine_is_left(marker):
    with checkpoint_loading():
        for scheme in ('s3://a', 'petrel://a', 'x:s3://a', 'pavi://a', 'mmcls://resnet18', 'modelzoo://a'):
            with pytest.raises(UserError, match='is no file'):
                CheckpointLoader.load_checkpoint(scheme)


TESTED = """
_base_ = {base!r}
model = dict(
    _delete_=True,
    type='ImageClassifier',
    backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=28, patch_size=7, in_channels=1),
    head=dict(type='LinearClsHead', in_channels=192, num_classes=10))
data_preprocessor = dict(num_classes=10, mean=[73.0], std=[90.0])
train_dataloader = dict(dataset=dict(limit=64))
test_dataloader = dict(batch_size=16, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
    type='DemoFashionMNIST', split='test', limit=32, test_mode=True, pipeline=[dict(type='PackInputs')]))
test_evaluator = dict(type='Accuracy')
test_cfg = dict()
"""
PROBED = '_base_ = {base!r}\ntrain_dataloader = dict(dataset=dict(limit=100))\n'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder with configs, and the whole checkpoints that they take."""
    folder = tmp_path_factory.mktemp('files')
    for name, text in dict(tested=TESTED, probed=PROBED).items():
        (folder / f'{name}.py').write_text(text.format(base=str(runs.AEMIM)))
    runs.train(runs.AEMIM, folder / 'run')
    for name in ('tested', 'probed'):
        model = MODELS.build(Config.fromfile(folder / f'{name}.py').model)
        torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    (folder / 'run/epoch_1.pth').rename(folder / 'trained.pth')
    return folder


def start(files, path, work, *trust):
    runs.train(runs.AEMIM, work, *trust, options=[f'load_from={path}'])


def resume(files, path, work, *trust):
    runs.train(runs.AEMIM, work, '--resume', path, *trust, epochs=2)


def resume_latest(files, path, work, *trust):
    work.mkdir(exist_ok=True)
    shutil.copy(path, work)
    (work / 'last_checkpoint').write_text(path.name)
    runs.train(runs.AEMIM, work, '--resume', *trust, epochs=2)


def initialise(files, path, work, *trust):
    init = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    options = [f'model.backbone.init_cfg.{name}={value}' for name, value in init.items()]
    runs.train(runs.AEMIM, work, *trust, options=options)


def test_it(files, path, work, *trust):
    runs.test(files / 'tested.py', path, work, *trust)


def probe(files, path, work, *trust):
    runs.run('analysis_tools/probe.py', files / 'probed.py', path, *trust)


def measure(files, path, work, *trust):
    runs.run('robustness.py', files / 'tested.py', path, '--out', work, *trust)


test_it.__test__ = False
TOOLS = {start: 'trained', resume: 'trained', resume_latest: 'trained', initialise: 'trained', test_it: 'tested'}
TOOLS |= {probe: 'probed', measure: 'tested'}


@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: tool.__name__)
def test_no_tool_runs_code_unless_told_to(tool, files, tmp_path, marker, capsys, monkeypatch):
    whole = of_config.labelled_data

    def part(*args):
        dataset = whole(*args)
        dataset.get_subset_(100)
        return dataset

    monkeypatch.setattr(of_config, 'labelled_data', part)
    content = read_checkpoint(files / f'{TOOLS[tool]}.pth')
    torch.save({**content, 'more': attack('system', marker)}, tmp_path / 'bad.pth')
    with pytest.raises(SystemExit) as end:
        tool(files, tmp_path / 'bad.pth', tmp_path / 'work')
    assert end.value.code == 2 and 'bad.pth needs code' in capsys.readouterr().err and not marker.exists()
    tool(files, tmp_path / 'bad.pth', tmp_path / 'work', '--trust-checkpoint')
    assert marker.exists()


def test_wrapped_safetensors_everywhere(files, tmp_path):
    """mmengine reads them as load_from and as init_cfg."""
    weights = read_checkpoint(files / 'trained.pth')['state_dict']
    save_file({f'_orig_mod.model.{name}': value for name, value in weights.items()}, tmp_path / 'x.safetensors')
    for tool in (start, initialise):
        tool(files, tmp_path / 'x.safetensors', tmp_path / tool.__name__)
        assert (tmp_path / tool.__name__ / 'epoch_1.pth').is_file()


def test_one_of_several_sets_everywhere(files, tmp_path, capsys):
    weights = read_checkpoint(files / 'tested.pth')['state_dict']
    torch.save(dict(student=weights, teacher=weights), tmp_path / 'x.pth')
    for tool in (test_it, measure):
        tool(files, f'{tmp_path}/x.pth#teacher', tmp_path / tool.__name__)
        with pytest.raises(SystemExit) as end:
            tool(files, tmp_path / 'x.pth', tmp_path / 'work')
        assert end.value.code == 2 and 'sets of weights: student, teacher. Choose one' in capsys.readouterr().err
