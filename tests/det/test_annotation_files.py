"""Annotation files that are unusual work as if they were usual, and those that are wrong are one line."""

import gzip
import json
import math
import re

import numpy as np
import pytest
from helpers import coco_shapes
from helpers.coco_files import both, each, file, one, rewrite, without
from mmdet.registry import DATASETS, METRICS
from mmengine.registry import DefaultScope
from pycocotools import mask as rle

from aemim_mm.det.annotation_files import _parse, read_annotations
from aemim_mm.det.robustness import CocoFigures
from aemim_mm.errors import UserError
from aemim_mm.launch import load_config
from aemim_mm.launch.config import prepare_data

STOCK = """
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'mmdet::_base_/datasets/coco_instance.py',
          'mmdet::_base_/schedules/schedule_1x.py', 'mmdet::_base_/default_runtime.py']
"""
HARMLESS = {
    'as it is': lambda content: None,
    'byte-order mark': lambda content: '\ufeff' + json.dumps(content),
    'UTF-16': lambda content: json.dumps(content).encode('utf-16'),
    'names that are not ASCII': lambda content: json.dumps(dict(content, info='Größe'), ensure_ascii=False),
    'image_id as text': each('annotations', image_id=str),
    'id of images as text': each('images', id='{:03d}'.format),
    'both as text': both(each('images', id='a{}'.format), each('annotations', image_id='a{}'.format)),
    'category_id as text': each('annotations', category_id=str),
    'numbers of a table': both(each('images', id=float, width=float), each('annotations', image_id=float, id=float)),
    'ids from 0': each('annotations', id=lambda number: number - 1),
    'no ids': without('annotations', 'id'),
    'iscrowd is a bool': each('annotations', iscrowd=bool),
    'backslashes': each('images', file_name='sub\\..\\{}'.format),
    'more fields': both(one('annotations', 0, keypoints=[1, 2, 2], extra=None), one('images', 0, license=None)),
}


def truth(dataset):
    """What a data set shows: for each image, its boxes, labels and masks."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [[(i['bbox'], i['bbox_label'], i['ignore_flag']) for i in info['instances']] for info in infos]


def perfect(dataset):
    """The results of a detector that finds all objects that are no crowds."""
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        objects = [item for item in info['instances'] if not item['ignore_flag']]
        masks = [rle.frPyObjects(item['mask'], 64, 64) for item in objects]
        masks = [rle.merge(mask) if isinstance(mask, list) else mask for mask in masks]
        found = dict(
            img_id=info['img_id'],
            bboxes=np.array([item['bbox'] for item in objects]).reshape(-1, 4),
            labels=np.array([item['bbox_label'] for item in objects], int),
            scores=np.ones(len(objects)),
            masks=masks,
        )
        yield dict(img_id=info['img_id'], width=64, height=64), found


LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def dataset_of(root, **changes):
    """The val split, loaded by itself."""
    fields = dict(data_root=str(root), ann_file='annotations/instances_val2017.json', data_prefix=dict(img='val2017/'))
    fields.update(metainfo=dict(classes=coco_shapes.CLASSES), pipeline=LOAD, type='CheckedCocoDataset')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build({**fields, **changes})


@pytest.fixture(scope='module')
def expected(made_coco):
    return truth(dataset_of(made_coco))


def measure(dataset, metric):
    """The APs of a perfect detector."""
    metric.dataset_meta, metric.results = dataset.metainfo, list(perfect(dataset))
    found = metric.evaluate(len(dataset))
    return [found[f'coco/{kind}_mAP'] for kind in ('bbox', 'segm')]


@pytest.mark.parametrize('edit', HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_works(coco_root, expected, edit):
    rewrite(file(coco_root, 'val'), edit)
    dataset = dataset_of(coco_root)
    assert truth(dataset) == expected
    assert dataset[0]['img'].shape == (64, 64, 3) and len(dataset[0]['gt_masks']) > 0
    assert measure(dataset, CocoFigures(str(file(coco_root, 'val')), ['bbox', 'segm'])) == [1, 1]


def test_a_stock_config_gets_all_of_it(coco_root, expected, monkeypatch):
    """mmdet's own types read the file as ours do, and no file is read for the check alone."""
    for split in ('train', 'val'):
        rewrite(file(coco_root, split), both(without('annotations', 'iscrowd'), each('annotations', image_id=str)))
    read = []
    monkeypatch.setattr(
        'aemim_mm.det.annotation_files._parse', lambda path, parse=_parse: read.append(path) or parse(path)
    )
    (coco_root / 'stock.py').write_text(STOCK)
    cfg = load_config(coco_root / 'stock.py', data_root=coco_root)
    prepare_data(cfg, ('train_dataloader', 'val_dataloader'))
    train, val = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val'))
    # Each object of a crowd is learnt.
    assert [[(*item, 0) for *item, _ in image] for image in expected] == truth(val)
    assert read == [str(file(coco_root, 'train')), str(file(coco_root, 'val'))]
    assert len(train[0]['data_samples'].gt_instances.masks) > 0
    # A crowd stays an object of the evaluator: it is measured, and found.
    assert measure(val, METRICS.build(cfg.val_evaluator)) == [1, 1]


NUMBERS = 'number 0 of its annotations has '
BAD = {
    'truncated': (lambda content: json.dumps(content)[:-200], 'is no JSON: .* at line 1, column'),
    'JSON lines': (
        lambda content: '\n'.join(map(json.dumps, content['annotations'])),
        'is no JSON: Extra data at line 2, column 1. Expected one object in the file',
    ),
    'compressed': (lambda content: gzip.compress(json.dumps(content).encode()), 'is no JSON but compressed. .*gunzip'),
    'Latin-1': (
        lambda content: json.dumps(dict(content, info='Größe'), ensure_ascii=False).encode('latin1'),
        "is no JSON: 'utf-8' codec can't decode byte 0xf6 .* Expected UTF-8. Convert it",
    ),
    'empty': (lambda content: b'', 'is no JSON'),
    'predictions': (
        lambda content: [dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)],
        'has no list of images, but predictions. Expected a file in the format of COCO',
    ),
    'LabelMe': (lambda content: dict(shapes=[], imagePath='1.jpg'), 'has no list of images. Expected a file'),
    'YOLO': (lambda content: '0 0.5 0.5 0.1 0.1\n', 'is no JSON'),
    'no image': (lambda content: dict(content, images=[]), 'an empty list of images'),
    'no category': (lambda content: dict(content, categories=[]), 'an empty list of categories'),
    'no categories': (lambda content: content.pop('categories') and content, 'has no list of categories'),
    'items that are no objects': (
        lambda content: dict(content, annotations=[1, 2]),
        NUMBERS + 'no image_id .1 others are',
    ),
    'image id twice': (
        one('images', 3, id=1),
        'two images of the same id: numbers 0 and 3 of its images have the id 1, and 1 of 8 repeat another. Expected',
    ),
    'annotation id twice': (one('annotations', 3, id=1), 'two annotations of the same id: numbers 0 and 3'),
    'category name twice': (one('categories', 1, name='circle'), "numbers 0 and 1 of its .* the name 'circle'"),
    'category without a name': (
        one('categories', 0, name=7),
        'number 0 of its categories has name 7 .id 1.. Expected text',
    ),
    'ids of two types': (one('images', 0, id='a'), "number 1 of its images has id 2 .6 others .* as 'a', the first id"),
    'image unknown': (
        each('annotations', image_id='img{}'.format),
        r"annotation 1 is of image_id 'img\d', which is none of its images .1, 2, .*others are of unknown images, too",
    ),
    'category unknown': (
        one('annotations', 0, category_id=9),
        'is of category_id 9, which is none of its categories .1: c',
    ),
    'image_id null': (
        one('annotations', 0, image_id=None),
        NUMBERS + 'image_id None .id 1.. Expected a whole number or',
    ),
    'file_name absent': (without('images', 'file_name'), 'number 0 of its images has no file_name .id 1; 7 others'),
    'file_name empty': (one('images', 0, file_name=''), "has file_name '' .id 1.. Expected the path"),
    'width as text': (
        one('images', 0, width='64'),
        "number 0 of its images has width '64' .id 1.. Expected a whole number",
    ),
    'width 0': (one('images', 2, width=0), 'number 2 of its images has width 0 .id 3.. Expected a whole number'),
    'height absent': (without('images', 'height'), 'number 0 of its images has no height .id 1; 7 others'),
    'height null': (one('images', 0, height=None), 'has height None'),
    'bbox absent': (without('annotations', 'bbox'), NUMBERS + 'no bbox'),
    'bbox empty': (
        one('annotations', 0, bbox=[]),
        NUMBERS + r'bbox \[\] .id 1.. Expected four finite numbers: x, y, width',
    ),
    'bbox of 3': (
        each('annotations', bbox=lambda box: box[:3]),
        r'bbox \[.*\] .id 1; \d+ others are wrong, too.. Expected',
    ),
    'bbox of text': (
        one('annotations', 0, bbox=['1', '2', '3', '4']),
        "bbox .'1', '2', '3', '4'. .id 1.. Expected four",
    ),
    'bbox of NaN': (one('annotations', 0, bbox=[1, 2, math.nan, 4]), r'bbox \[1, 2, nan, 4\]'),
    'bbox infinite': (one('annotations', 0, bbox=[1, 2, math.inf, 4]), r'bbox \[1, 2, inf, 4\]'),
    'bbox negative': (one('annotations', 0, bbox=[9, 9, -3, 4]), 'the last two not negative'),
    'bbox outside': (one('annotations', 0, bbox=[80, 9, 3, 4]), 'inside its image of 64x64 .width x height.'),
    'area null': (one('annotations', 0, area=None), NUMBERS + 'area None .id 1.. Expected the area of the mask, or'),
    'iscrowd as text': (one('annotations', 0, iscrowd='0'), "iscrowd '0' .id 1.. Expected 0 or 1"),
}


@pytest.mark.parametrize(('edit', 'message'), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_line(coco_root, edit, message):
    path = file(coco_root)
    rewrite(path, edit)
    with pytest.raises(UserError, match=f'^The annotation file {re.escape(str(path))}.*{message}') as error:
        read_annotations(str(path))
    assert '\n' not in str(error.value) and len(str(error.value)) < 700
