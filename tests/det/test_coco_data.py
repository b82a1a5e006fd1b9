"""Data in COCO's format: the two flags, missing and unreadable images, and bad annotation files."""

import json
import shutil

import pytest
from helpers import coco_shapes, runs
from mmdet.registry import DATASETS

from aemim_mm import launch
from aemim_mm.datasets import UnreadableImageError, of_config
from aemim_mm.det.coco_config import read_categories, set_classes
from aemim_mm.errors import UserError

BASES = """
_base_ = ['mmdet::_base_/models/{model}.py', 'mmdet::_base_/datasets/coco_instance.py',
          'mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']
"""
TRAINING = ('train_dataloader', 'val_dataloader')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('coco')
    coco_shapes.make_split(root, 'train', 16, size=64)
    coco_shapes.make_split(root, 'val', 8, size=64, seed=1)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy of the data, which tests may damage."""
    return shutil.copytree(made, tmp_path / 'data')


def load(folder, data_root, model='mask-rcnn_r50_fpn', options=None, text=BASES):
    (folder / 'config.py').write_text(text.format(model=model))
    return launch.load_config(folder / 'config.py', options=options, data_root=data_root)


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def annotations(root, split='train'):
    return root / f'annotations/instances_{split}2017.json'


# The fields of mmdet's base configs that hold the number of classes.
HEADS = {
    'mask-rcnn_r50_fpn': ['roi_head.bbox_head', 'roi_head.mask_head'],
    'cascade-mask-rcnn_r50_fpn': [*(f'roi_head.bbox_head.{i}' for i in range(3)), 'roi_head.mask_head'],
    'retinanet_r50_fpn': ['bbox_head'],
}


@pytest.mark.parametrize('model', HEADS)
@pytest.mark.parametrize(
    ('given', 'expected'),
    [(None, coco_shapes.CLASSES), (['triangle', 'circle'], ('circle', 'triangle'))],
    ids=['read', 'given'],
)
def test_classes_reach_heads_and_data_sets(root, tmp_path, model, given, expected):
    cfg = load(tmp_path, root, model)
    before = cfg.model.to_dict()
    set_classes(cfg, given, TRAINING)
    assert [dataset.metainfo['classes'] for dataset in of_config.datasets(cfg)] == [expected] * 3
    for name in HEADS[model]:
        *parents, last = [int(part) if part.isdigit() else part for part in name.split('.')]
        old, new = before, cfg.model
        for part in (*parents, last):
            old, new = old[part], new[part]
        assert old['num_classes'] == 80 and new.num_classes == len(expected)
        old['num_classes'] = len(expected)
    # Nothing else has changed.
    assert cfg.model.to_dict() == before


def test_labels_are_those_of_the_names(root, tmp_path):
    cfg = load(tmp_path, root)
    set_classes(cfg, ['triangle', 'square'], TRAINING)
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    content = json.loads(annotations(root).read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    checked = 0
    for info in (dataset.get_data_info(i) for i in range(len(dataset))):
        truth = [item for item in content['annotations'] if item['image_id'] == info['img_id']]
        truth = [names[item['category_id']] for item in truth if names[item['category_id']] != 'circle']
        got = [dataset.metainfo['classes'][instance['bbox_label']] for instance in info['instances']]
        assert got == truth
        checked += len(got)
    assert checked > 5


def test_coco_itself_is_left_alone(root, tmp_path):
    cfg = load(tmp_path, root)
    classes = DATASETS.get('CocoDataset').METAINFO['classes']
    for split in ('train', 'val'):

        def rename(content):
            content['categories'] = [dict(id=1 + i, name=name) for i, name in enumerate(classes)]

        change(annotations(root, split), rename)
    before = cfg.to_dict()
    set_classes(cfg, None, TRAINING)
    assert cfg.to_dict() == before


WRAPPED = (
    BASES
    + """
data_root = 'data/coco/'
train_dataloader = dict(dataset=dict(_delete_=True, type='MultiImageMixDataset', pipeline=[], dataset=dict(
    type='RepeatDataset', times=2, dataset=dict(type='CocoDataset', data_root=data_root,
    ann_file=data_root + 'annotations/instances_train2017.json', data_prefix=dict(img='train2017/')))))
val_evaluator = [dict(type='CocoMetric', ann_file=data_root + 'annotations/instances_val2017.json'),
                 dict(type='DumpResults', out_file_path='x.pkl')]
val_evaluator[0]['metric'] = 'bbox'
test_evaluator = dict(ann_file='elsewhere.json')
"""
)


def test_the_data_root_reaches_wrappers_and_evaluators(tmp_path):
    cfg = load(tmp_path, '/some/where', text=WRAPPED)
    assert [dataset.data_root for dataset in of_config.datasets(cfg)] == ['/some/where'] * 3
    inner = cfg.train_dataloader.dataset.dataset.dataset
    assert inner.ann_file == 'annotations/instances_train2017.json'
    assert cfg.val_evaluator[0].ann_file == '/some/where/annotations/instances_val2017.json'
    assert 'ann_file' not in cfg.val_evaluator[1] and cfg.test_evaluator.ann_file == 'elsewhere.json'
    with pytest.raises(UserError, match='no annotation file /some/where/annotations/.*--data-root DIR'):
        set_classes(cfg, ['a'], TRAINING)


def test_an_option_for_the_annotation_file_reaches_the_evaluator(tmp_path, root):
    cfg = load(tmp_path, root, options=['val_dataloader.dataset.ann_file=annotations/mine.json'])
    assert cfg.val_evaluator.ann_file == f'{root}/annotations/mine.json'
    assert cfg.test_evaluator.ann_file == f'{root}/annotations/instances_val2017.json'


def test_the_simple_layout(tmp_path, root):
    for split in ('train', 'val'):
        annotations(root, split).rename(root / f'annotations/{split}.json')
        (root / f'{split}2017').rename(root / split)
    cfg = load(tmp_path, root)
    of_config.check_data(cfg, TRAINING)
    set_classes(cfg, None, TRAINING)
    assert cfg.val_evaluator.ann_file == f'{root}/annotations/val.json'
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, filter_cfg=None))
    assert len(dataset) == 16 and dataset[0]['inputs'].shape[0] == 3


def refuse(root, tmp_path, match, classes=None):
    with pytest.raises(UserError, match=match) as error:
        set_classes(load(tmp_path, root), classes, TRAINING)
    assert '\n' not in str(error.value)


def test_bad_annotation_files(root, tmp_path):
    path = annotations(root)
    whole = path.read_text()
    path.write_text(whole[: whole.index(',') + 1] + '\n  !')
    refuse(root, tmp_path, f'{path} is no JSON: .* at line 2, column 3')
    path.write_bytes(b'\xff\xfe\x00\x80')
    refuse(root, tmp_path, f'{path} is no JSON')
    path.write_text('[1, 2]')
    refuse(root, tmp_path, 'has no list of images. Expected a file in the format of COCO')
    for part in ('images', 'annotations', 'categories'):
        path.write_text(whole)
        change(path, lambda content, part=part: content.pop(part))
        refuse(root, tmp_path, f'{path} has no list of {part}')
    path.write_text(whole)
    change(path, lambda content: content['annotations'][2].pop('area'))
    refuse(root, tmp_path, 'number 2 of its annotations has no area')
    path.unlink()
    refuse(root, tmp_path, f'There is no annotation file {path}')


def test_categories_that_do_not_match(root, tmp_path):
    refuse(root, tmp_path, "no category 'hexagon'. It has circle, square, triangle", ['circle', 'hexagon'])
    change(annotations(root, 'val'), lambda content: content['categories'].reverse())
    refuse(root, tmp_path, 'disagree: their categories are circle, square, triangle, and triangle, square, circle')
    change(annotations(root, 'val'), lambda content: content['categories'][0].update(name='square'))
    refuse(root, tmp_path, 'two categories of the same id or name')
    change(annotations(root), lambda content: content['annotations'][0].update(category_id=9))
    refuse(root, tmp_path, 'annotation 1 is of category_id 9, which is none of its categories .1: circle, 2: square')


def test_test_images_have_no_annotations(root):
    path = annotations(root, 'val').rename(root / 'annotations/image_info_test-dev2017.json')
    change(path, lambda content: content.pop('annotations'))
    assert read_categories(str(path)) == coco_shapes.CLASSES


LOAD = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)]


def build(root, split='train', kind='SkippingCocoDataset', **changes):
    return DATASETS.build(
        dict(
            type=kind,
            data_root=str(root),
            ann_file=f'annotations/instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'),
            metainfo=dict(classes=coco_shapes.CLASSES),
            pipeline=LOAD,
            **changes,
        )
    )


def shown(dataset):
    return [{**dataset.get_data_info(i), 'sample_idx': None} for i in range(len(dataset))]


@pytest.mark.parametrize(
    'changes', [{}, dict(filter_cfg=dict(filter_empty_gt=True, min_size=32)), dict(test_mode=True)]
)
def test_whole_data_are_as_in_mmdet(root, changes):
    ours, stock = build(root, **changes), build(root, kind='CocoDataset', **changes)
    assert shown(ours) == shown(stock) and not ours.missing
    instances = [instance for info in shown(ours) for instance in info['instances']]
    assert any(instance['ignore_flag'] for instance in instances)
    assert any(not info['instances'] for info in shown(ours)) == ('filter_cfg' not in changes)
    for i in range(len(ours)):
        assert (ours[i]['img'] == stock[i]['img']).all()


@pytest.mark.parametrize('test_mode', [False, True])
def test_missing_images_are_left_out(root, test_mode):
    whole = shown(build(root, test_mode=test_mode))
    for number in (3, 5):
        (root / f'train2017/{number:06d}.png').unlink()
    dataset = build(root, test_mode=test_mode, show=1)
    assert dataset.missing == [f'{root}/train2017/000003.png', f'{root}/train2017/000005.png']
    assert shown(dataset) == [info for info in whole if info['img_path'] not in dataset.missing]
    shutil.rmtree(root / 'train2017')
    with pytest.raises(UserError, match=f'None of the 16 images of .* is there, first: {root}/train2017/000000.png'):
        build(root)


def test_broken_images_are_skipped_in_training_and_an_error_in_tests(root):
    path = root / 'train2017/000004.png'
    path.write_bytes(path.read_bytes()[:500])
    dataset = build(root)
    assert dataset[4]['img_id'] != 5 and dataset[3]['img_id'] == 4
    assert dataset.bad.nonzero().flatten().tolist() == [4] and dataset.unreadable() == [str(path)]
    with pytest.raises(UnreadableImageError, match='000004.png'):
        build(root, test_mode=True)[4]
    for file in (root / 'train2017').iterdir():
        file.write_bytes(b'')
    with pytest.raises(UserError, match=f'16 of the 16 images in {root}/train2017'):
        build(root, max_refetch=200)[0]


def test_an_augmentation_may_give_nothing(root):
    """If a crop leaves no object, another image is used, and none is marked as unreadable."""
    dataset = build(root)
    dataset.pipeline.transforms.append(lambda results: None if results['img_id'] == 1 else results)
    assert dataset[0]['img_id'] != 1 and not dataset.bad.any()


TRAINED = """
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', 'mmdet::_base_/datasets/coco_detection.py',
          'mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']
model = dict(backbone=dict(depth=18, norm_eval=False, frozen_stages=-1, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=32), bbox_head=dict(in_channels=32, feat_channels=32),
    test_cfg=dict(score_thr=0.0))
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackDetInputs')]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(num_workers=0, persistent_workers=False,
    dataset=dict(type='SkippingCocoDataset', pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False,
    dataset=dict(type='SkippingCocoDataset', pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = [dict(type='UnreadableImagesHook')]
"""


# mmdet's configs name the visualizer, and this process makes three.
@pytest.mark.filterwarnings('ignore:.* instance named of visualizer has been created')
def test_two_flags_through_both_tools(root, tmp_path, capsys):
    (tmp_path / 'config.py').write_text(TRAINED)
    (root / 'train2017/000003.png').unlink()
    (root / 'val2017/000001.png').unlink()
    (root / 'train2017/000004.png').write_bytes(b'')
    flags = ['--data-root', root, '--classes', 'circle,triangle']
    runs.train(tmp_path / 'config.py', tmp_path / 'work', *flags, shrunk=())
    log = runs.log_of(tmp_path / 'work')
    assert f'1 of 16 images of {annotations(root)} are missing, and training goes on without them' in log
    assert f'1 of 8 images of {annotations(root, "val")} are missing, and their objects count as missed' in log
    assert 'Skipped 1 unreadable or truncated of 1' in log and 'bbox_mAP' in log
    (listed,) = (tmp_path / 'work').glob('*/missing_images_instances_train2017.txt')
    assert listed.read_text() == f'{root}/train2017/000003.png\n'
    weights = runs.weights(tmp_path / 'work/epoch_1.pth')
    assert len(weights['bbox_head.retina_cls.bias']) == 2 * 9
    runs.test(tmp_path / 'config.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'test', *flags)
    assert 'bbox_mAP' in runs.log_of(tmp_path / 'test')
    # Without the flag there are three classes, but the checkpoint has two.
    capsys.readouterr()
    with pytest.raises(SystemExit):
        runs.test(tmp_path / 'config.py', tmp_path / 'work/epoch_1.pth', tmp_path / 'test', *flags[:2])
    assert 'bbox_head.retina_cls.weight (18, 32, 3, 3) for (27, 32, 3, 3)' in capsys.readouterr().err
