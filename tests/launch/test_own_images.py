"""One's own images, from the file to the run: one channel, labels, and one clear error before any work."""

import re

import numpy as np
import pytest
import torch
from helpers import runs
from mmengine.config import Config
from PIL import Image

from aemim_mm import launch, load_encoder
from aemim_mm.datasets.of_config import datasets, kind_of
from aemim_mm.errors import UserError
from aemim_mm.launch import load_config, train
from aemim_mm.launch.config import prepare_data

SMALL = """
_base_ = {base!r}
arch = dict(_delete_=True, embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
model = dict(backbone=dict(arch=arch, img_size=32, patch_size=8), {model})
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline={pipeline}))
train_cfg = dict(max_epochs=1)
"""
NECK = 'neck=dict(img_size=32, patch_size=8, embed_dim=32, decoder_embed_dim=32, decoder_num_heads=2, decoder_depth=1)'


def grey_config(tmp_path):
    """The documented config, with a tiny model for 32 pixels."""
    base = runs.CONFIGS / 'aemim_vit-b_folder-grey.py'
    pipeline = [dict(step) for step in Config.fromfile(base).train_dataloader.dataset.pipeline]
    pipeline[1]['scale'] = 32
    model = f'{NECK}, head=dict(patch_size=8)'
    (tmp_path / 'grey.py').write_text(SMALL.format(base=str(base), model=model, pipeline=pipeline))
    return tmp_path / 'grey.py'


def export(checkpoint, to, out):
    runs.run('export.py', checkpoint, '--to', to, '--out', out)
    return out


def test_one_channel_from_the_files_to_the_exports(tmp_path, capsys):
    timm, transformers = pytest.importorskip('timm'), pytest.importorskip('transformers')
    chance, images = np.random.default_rng(0), tmp_path / 'images'
    images.mkdir()
    deep = chance.integers(65536, size=(4, 32, 32)).astype(np.uint16)
    for number, pixels in enumerate(deep):
        Image.fromarray(pixels).save(images / f'{number}.png')
    Image.fromarray(chance.integers(256, size=(40, 36, 3), dtype=np.uint8)).save(images / 'colour.jpg')
    (images / 'broken.jpg').write_bytes(b'')
    work = tmp_path / 'work'
    train(grey_config(tmp_path), data_root=images, work_dir=work, options=['experiment_name=grey'])
    assert (work / 'unreadable_images.txt').read_text() == f'{images}/broken.jpg\n'
    (panel,) = work.glob('*/vis_data/vis_image/panels_*.png')
    panel = np.asarray(Image.open(panel))
    assert np.ptp(panel[30:], axis=2).max() == 0, 'the panel is grey'
    checkpoint = work / 'epoch_1.pth'
    encoder = load_encoder(checkpoint)
    assert (encoder.in_channels, encoder.mean, encoder.std) == (1, (117.0,), (57.0,))
    pixels = encoder.preprocess(images / '0.png')
    torch.testing.assert_close(pixels[0, 0], ((torch.from_numpy(deep[0].astype(int)) >> 8) - 117.0) / 57.0)
    assert encoder.preprocess(images / 'colour.jpg').shape == (1, 1, 32, 32)
    expected = encoder(pixels)
    shown = capsys.readouterr() and export(checkpoint, 'timm', tmp_path / 'x.pth') and capsys.readouterr().out
    code = re.search(r'model = (timm\..*?\)); model.load', shown)[1]
    vit = eval(code, {'timm': timm})
    vit.load_state_dict(torch.load(tmp_path / 'x.pth'))
    torch.testing.assert_close(vit.eval()(pixels), expected, rtol=0, atol=1e-5)
    vit = transformers.ViTModel.from_pretrained(
        export(checkpoint, 'huggingface', tmp_path / 'hf'), add_pooling_layer=False
    )
    torch.testing.assert_close(vit.eval()(pixels).last_hidden_state[:, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model.backbone.in_channels=3', 'model.backbone.in_channels is 3, but model.neck.in_chans is 1'),
        ('model.neck.in_chans=3', 'model.backbone.in_channels is 1, but model.neck.in_chans is 3'),
        ('model.head.in_channels=3', 'model.head.in_channels is 3'),
        ('data_preprocessor.mean=[1,2,3]', 'data_preprocessor.mean has 3 values'),
        ('data_preprocessor.to_rgb=True', 'data_preprocessor.to_rgb swaps 3'),
        ('train_dataloader.dataset.pipeline.0.color_type=color', 'train_dataloader loads 3'),
        ('train_dataloader.dataset.pipeline.0.color_type=unchanged', "Unknown color_type .*'unchanged'"),
    ],
)
def test_channels_that_differ(tmp_path, option, words):
    Image.new('L', (40, 40)).save(tmp_path / 'x.png')
    with pytest.raises(UserError, match=words):
        train(grey_config(tmp_path), data_root=tmp_path, work_dir=tmp_path / 'work', options=[option])


def test_simmim_on_grey_images_needs_its_decoder(tmp_path):
    config = runs.CONFIGS / 'demo/simmim_vit-tiny_16e_fashion-mnist.py'
    for option, words in (
        ('model.neck.image_channels=3', 'model.backbone.in_channels is 1, but model.neck.image_channels is 3'),
        ('model.neck=dict(type="SimMIMLinearDecoder",in_channels=192,encoder_stride=7)', 'SimMIMDecoder takes'),
    ):
        with pytest.raises(UserError, match=words):
            train(config, work_dir=tmp_path, options=[option])


def test_every_config_reads_files_by_the_one_decoder():
    for name in ('aemim_vit-b_800e.py', 'benchmarks/in1k/vit-base-p16_8xb128-coslr-100e_in1k.py'):
        steps = [[kind_of(step) for step in dataset.pipeline] for dataset in datasets(load_config(runs.CONFIGS / name))]
        assert steps and all(kinds[0] == 'LoadWholeImage' and 'LoadImageFromFile' not in kinds for kinds in steps)


CLASSIFIER = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)
model = dict(type='ImageClassifier', head=dict(type='LinearClsHead', num_classes=3, in_channels=32),
    backbone=dict(type='VisionTransformer', arch=dict(embed_dims=32, num_layers=1, num_heads=2,
        feedforward_channels=32), img_size=16, patch_size=8))
data_preprocessor = dict(num_classes=3, mean=[1.0] * 3, std=[50.0] * 3)
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]
train_dataloader = dict(batch_size=3, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_prefix='train', data_root='', pipeline=pipeline))
val_dataloader = dict(batch_size=3, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_prefix='val', data_root='', pipeline=pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
train_cfg, val_cfg, test_cfg = dict(by_epoch=True, max_epochs=1), dict(), dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
"""


@pytest.fixture
def labelled(tmp_path):
    """A config, and a folder with three classes for training and validation."""
    (tmp_path / 'own.py').write_text(CLASSIFIER)
    for split in ('train', 'val'):
        for name in ('cat', 'dog', 'emu'):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new('RGB', (20, 16)).save(tmp_path / split / name / 'a.webp')
    return tmp_path


def start(root, *options, run=train, **kwargs):
    return run(root / 'own.py', data_root=root, work_dir=root / 'work', options=list(options), **kwargs)


def test_a_config_of_mmpretrain_reads_class_folders_safely(labelled):
    (labelled / 'train/.ipynb_checkpoints').mkdir()
    (labelled / 'train/cat/empty.jpg').write_bytes(b'')
    start(labelled, 'experiment_name=folders')
    assert (labelled / 'work/unreadable_images.txt').read_text() == f'{labelled}/train/cat/empty.jpg\n'
    (labelled / 'val/emu/empty.jpg').write_bytes(b'')
    with pytest.raises(UserError, match=f'Cannot read the image {labelled}/val/emu/empty.jpg'):
        start(labelled, 'experiment_name=test', run=launch.test, checkpoint=labelled / 'work/epoch_1.pth')


def test_another_labelled_data_set_names_a_broken_file_from_its_worker(labelled):
    (labelled / 'meta').mkdir()
    (labelled / 'meta/train.txt').write_text('cat/a.webp 0\ndog/a.webp 1\nemu/a.webp 2\n')
    content = (labelled / 'train/dog/a.webp').read_bytes()
    (labelled / 'train/dog/a.webp').write_bytes(content[: len(content) // 2])
    options = ['train_dataloader.dataset.type=ImageNet', 'train_dataloader.dataset.split=train']
    with pytest.raises(UserError, match=f'Cannot read the image {labelled}/train/dog/a.webp'):
        start(labelled, *options, 'train_dataloader.num_workers=1', 'experiment_name=worker')


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('val/cat', None, "{root}/val lacks the class 'cat', which {root}/train has. Expected the same"),
        ('train/emu', None, "{root}/train lacks the class 'emu', which {root}/val has."),
        ('val/cat', 'val/Cat', r"{root}/val lacks the class 'cat', which {root}/train has \(but 'Cat'\)"),
    ],
)
def test_classes_that_differ(labelled, old, new, words):
    (labelled / old).rename(labelled / (new or 'aside'))
    words = words.format(root=labelled)
    for run, more in ((train, {}), (launch.test, {'checkpoint': 'unused.pth'})):
        with pytest.raises(UserError, match=words):
            start(labelled, run=run, **more)
    if new is None and old.startswith('val'):
        # A class without images: by an empty folder, or by names.
        names = ['train_dataloader.dataset.classes=[cat,dog,emu]', 'val_dataloader.dataset.classes=[cat,dog,emu]']
        prepare_data(load_config(labelled / 'own.py', options=names, data_root=labelled), ('val_dataloader',))
        (labelled / old).mkdir()
        prepare_data(load_config(labelled / 'own.py', data_root=labelled), ('val_dataloader',))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_labels_out_of_range(labelled, split):
    (labelled / 'list.txt').write_text('cat/a.webp 0\nemu/a.webp 3\n')
    words = f'{labelled}/{split}/emu/a.webp has the label 3 .*model.head.num_classes is 3: labels are 0 to 2. Set'
    with pytest.raises(UserError, match=words):
        start(labelled, f'{split}_dataloader.dataset.ann_file=list.txt', f'experiment_name=range_{split}')


def test_numbers_of_classes_that_differ(labelled):
    with pytest.raises(UserError, match=f'{labelled}/train has 3 classes, but model.head.num_classes is 2'):
        start(labelled, 'model.head.num_classes=2', 'experiment_name=head')
    with pytest.raises(UserError, match='data_preprocessor.num_classes is 4, but model.head.num_classes is 3'):
        options = ['data_preprocessor.num_classes=4', 'data_preprocessor.to_onehot=True']
        start(labelled, *options, 'experiment_name=encoded')
