"""How the tools change a config, and what they print when they fail."""

import importlib.util
import os
import signal
import sys

import pytest
import torch
from helpers import faults, runs
from mmengine.config import Config

from aemim_mm import launch
from aemim_mm.datasets import of_config
from aemim_mm.engine.resumption import known_failure
from aemim_mm.errors import UserError
from aemim_mm.launch import load_config
from aemim_mm.models import NonFiniteLossError

IMAGENET = runs.CONFIGS / 'aemim_vit-b_800e.py'


def test_work_dir(tmp_path):
    assert load_config(IMAGENET).work_dir == 'work_dirs/aemim_vit-b_800e'
    assert load_config(IMAGENET, work_dir='elsewhere').work_dir == 'elsewhere'
    (tmp_path / 'own.py').write_text(f'_base_ = {str(IMAGENET)!r}\nwork_dir = "own_place"\n')
    assert load_config(tmp_path / 'own.py').work_dir == 'own_place'
    assert load_config(tmp_path / 'own.py', work_dir='elsewhere').work_dir == 'elsewhere'


def test_options_keep_their_types():
    options = ['model.adv_weight=0.5', 'model.adapters=(norm,cls_token)', 'optim_wrapper.optimizer.betas=(0.9,0.99)']
    options += ['model.decoder=shared', 'resume=True', 'load_from=None', 'model.new.path=a=b']
    cfg = load_config(IMAGENET, options=options)
    assert cfg.model.adv_weight == 0.5 and cfg.model.decoder == 'shared'
    assert list(cfg.model.adapters) == ['norm', 'cls_token'] and tuple(cfg.optim_wrapper.optimizer.betas) == (0.9, 0.99)
    assert cfg.resume is True and cfg.load_from is None and cfg.model.new.path == 'a=b'


NESTED = """
default_scope = 'mmpretrain'
train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[
    dict(type='RepeatDataset', dataset=dict(type='CustomDataset', data_root='a')), dict(type='CustomDataset')]))
val_dataloader = dict(num_workers=2, dataset=dict(type='CustomDataset', data_root='b'))
test_dataloader = None
"""


def test_data_root_reaches_every_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'nested.py').write_text(NESTED)
    cfg = load_config(tmp_path / 'nested.py', data_root='~/images')
    roots = {dataset.data_root for dataset in of_config.datasets(cfg)}
    assert roots == {f'{tmp_path}/images'} and len(list(of_config.datasets(cfg))) == 3
    first, second = cfg.train_dataloader.dataset.datasets
    assert 'data_root' not in first and first.dataset.data_root == second.data_root


def test_loaders_get_what_mmpretrains_own_script_gives_them(tmp_path):
    (tmp_path / 'nested.py').write_text(NESTED)
    cfg = load_config(tmp_path / 'nested.py')
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    assert 'persistent_workers' not in cfg.train_dataloader and cfg.val_dataloader.persistent_workers is True
    (tmp_path / 'other.py').write_text(NESTED.replace('mmpretrain', 'mmdet'))
    assert 'collate_fn' not in load_config(tmp_path / 'other.py').train_dataloader


def check(tmp_path, **dataset):
    of_config.check_data(Config(dict(train_dataloader=dict(dataset=dataset))), ('train_dataloader', 'val_dataloader'))


def test_folders_inside_the_data_root_are_checked_too(tmp_path):
    (tmp_path / 'train2017').mkdir()
    coco = dict(type='mmdet.CocoDataset', data_root=str(tmp_path))
    check(tmp_path, **coco, data_prefix=dict(img='train2017/'))
    with pytest.raises(UserError, match=f'no data folder {tmp_path}/val2017 .CocoDataset.*annotations/'):
        check(tmp_path, **coco, data_prefix=dict(img='val2017'))
    with pytest.raises(UserError, match=f'no data folder {tmp_path}/gone .Unknown'):
        check(tmp_path, type='Unknown', data_root=str(tmp_path), data_prefix='gone')
    check(tmp_path, type='Unknown', data_root='s3://bucket/images')
    check(tmp_path, type='Unknown')


def test_imagenet_by_classes_or_by_a_list(tmp_path):
    imagenet = dict(type='ImageNet', data_root=str(tmp_path), split='train')
    for number in range(999):
        (tmp_path / f'train/n{number}').mkdir(parents=True)
    with pytest.raises(UserError, match='999 class folders, not 1000'):
        check(tmp_path, **imagenet)
    check(tmp_path, **imagenet, ann_file='mine.txt')
    (tmp_path / 'train/n999').mkdir()
    check(tmp_path, **imagenet)
    (tmp_path / 'train/n999').rmdir()
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').touch()
    check(tmp_path, **imagenet)


@pytest.mark.parametrize(('error', 'code'), [(UserError('Wrong.'), 2), (NonFiniteLossError('Wrong.'), 1)])
def test_our_errors_are_one_line(capsys, error, code):
    with pytest.raises(SystemExit) as end, launch.one_clear_error():
        raise error
    assert end.value.code == code and capsys.readouterr().err == 'error: Wrong.\n'


def print_where_nobody_reads(unbuffered):
    """As in ``tool | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    sys.stdout = open(1, 'w', encoding='utf-8', closefd=False)  # noqa: SIM115  as long as the process
    sys.stdout.reconfigure(write_through=unbuffered)
    with launch.one_clear_error():
        print('one line')


@pytest.mark.parametrize('unbuffered', [True, False])
def test_output_that_nobody_reads_ends_in_silence(unbuffered, tmp_path):
    tool = faults.Process(tmp_path / 'output.txt', print_where_nobody_reads, unbuffered)
    assert tool.wait() == 128 + signal.SIGPIPE and tool.output() == ''


def test_another_closed_pipe_is_a_bug():
    with pytest.raises(BrokenPipeError), launch.one_clear_error():
        raise BrokenPipeError


def test_an_error_in_a_worker_process_is_one_line(capsys):
    """PyTorch hands it on as the same type, with the traceback as its message."""

    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise UserError('Wrong.')

    with pytest.raises(SystemExit), launch.one_clear_error():
        list(torch.utils.data.DataLoader(Broken(), num_workers=1))
    assert capsys.readouterr().err == 'error: Wrong.\n'


def test_several_processes_say_who_speaks(capsys, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('RANK', '3')
    with pytest.raises(SystemExit), launch.one_clear_error():
        raise UserError('Wrong.')
    assert capsys.readouterr().err == 'error: rank 3: Wrong.\n'


@pytest.mark.parametrize(
    'message', ['Application timeout caused pair closure', '[x.cc:1] Timed out waiting 3000ms for recv', 'NCCL error']
)
def test_a_lost_process_is_told_by_each_message_of_its_backend(message, monkeypatch):
    assert known_failure(RuntimeError(message)) is None
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '1')
    line, code = known_failure(RuntimeError(message))
    assert code == 1 and 'rank 1: another process ended, or did not answer' in line and message in line


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), launch.one_clear_error():
        1 / 0  # noqa: B018


@pytest.mark.parametrize('budget', [2, 0])
def test_continued_training_starts_with_the_loss_of_the_stock_checkpoint(tmp_path, budget):
    """MAE, then AEMIM from its checkpoint: the first loss of both domains is MAE's, where there is no budget."""
    runs.train(runs.MAE, tmp_path / 'mae', epochs=2)
    load = [f'load_from={tmp_path}/mae/epoch_2.pth']
    runs.train(runs.MAE, tmp_path / 'more', options=load)
    runs.train(runs.AEMIM, tmp_path / 'aemim', options=[*load, f'model.data_preprocessor.eps={budget}'])
    (expected, *_), (got, *_) = runs.scalars(tmp_path / 'more'), runs.scalars(tmp_path / 'aemim')
    assert got['loss_clean'] == pytest.approx(expected['loss'], abs=1e-6)
    assert (abs(got['loss_adv'] - expected['loss']) < 1e-6) == (budget == 0)
    log = runs.log_of(tmp_path / 'aemim')
    assert '50 tensors fit\n  13 adversarial adapters start from the clean ones' in log


def test_an_empty_init_cfg_says_how_to_fill_it(tmp_path, capsys):
    options = ['model.backbone.init_cfg.type=Pretrained', 'model.backbone.init_cfg.checkpoint=']
    with pytest.raises(SystemExit) as end:
        runs.train(runs.AEMIM, tmp_path, options=options)
    message = capsys.readouterr().err
    assert end.value.code == 2 and 'model.backbone.init_cfg has no checkpoint to start from.' in message
    assert '--cfg-options model.backbone.init_cfg.checkpoint=FILE' in message
    assert 'or train from scratch with --cfg-options model.backbone.init_cfg=None' in message
    runs.train(runs.AEMIM, tmp_path, options=[*options, 'model.backbone.init_cfg=None'])


def test_a_clean_model_leaves_the_adversarial_adapters_out_without_a_warning(tmp_path):
    runs.train(runs.AEMIM, tmp_path / 'aemim')
    checkpoint = tmp_path / 'aemim/epoch_1.pth'
    runs.train(runs.MAE, tmp_path / 'load', options=[f'load_from={checkpoint}'])
    init = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    init = [f'model.backbone.init_cfg.{name}={value}' for name, value in init.items()]
    runs.train(runs.MAE, tmp_path / 'init', options=init)
    for name, count in dict(load=13, init=11).items():
        log = runs.log_of(tmp_path / name)
        assert f'{count} adversarial adapters left out' in log and 'do not match exactly' not in log


def test_an_image_smaller_than_a_patch_is_refused_where_the_model_would_pad_it(tmp_path, capsys):
    config = tmp_path / 'classifier.py'
    config.write_text(
        f"""_base_ = {str(runs.AEMIM)!r}
model = dict(_delete_=True, type='ImageClassifier', head=dict(type='LinearClsHead', in_channels=192, num_classes=10),
    backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=28, patch_size=7, in_channels=1))
data_preprocessor = dict(num_classes=10, mean=[73.0], std=[90.0])
train_dataloader = dict(dataset=dict(limit=32, pipeline=[dict(type='Resize', scale=28), dict(type='PackInputs')]))
"""
    )
    sizes = [('train_dataloader.batch_size=16', f'train_dataloader.dataset.pipeline.0.scale={size}') for size in (5, 7)]
    with pytest.raises(SystemExit) as end:
        runs.train(config, tmp_path, shrunk=sizes[0])
    assert end.value.code == 2
    assert 'An image of 5x5 pixels is smaller than a patch of 7x7.' in capsys.readouterr().err
    runs.train(config, tmp_path, shrunk=sizes[1])


def test_detection_without_mmdet_says_what_to_install(tmp_path, monkeypatch):
    config = tmp_path / 'detector.py'
    config.write_text('default_scope = "mmdet"\n')
    monkeypatch.setitem(sys.modules, 'aemim_mm.det', None)
    # mmdet is here, so something else is wrong.
    with pytest.raises(UserError, match='detector.py cannot be read: ModuleNotFoundError: .*aemim_mm.det'):
        load_config(config)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"needs mmdet.*pip install 'aemim-mm\[det\]'.*aemim-mm\[openmmlab-det\]"):
        load_config(config)


def test_classes_are_for_detection(tmp_path, capsys):
    with pytest.raises(SystemExit):
        runs.train(runs.AEMIM, tmp_path, '--classes', 'a,b')
    assert '--classes is for detection' in capsys.readouterr().err
