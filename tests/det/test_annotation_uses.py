"""What a config needs of its annotation files: masks, objects to learn, and the images of the evaluator."""

import copy
import json
import re

import pytest
from helpers import coco_shapes, runs
from helpers.coco_files import both, each, file, one, rewrite, without
from mmdet.registry import DATASETS

from aemim_mm.datasets import of_config
from aemim_mm.det.annotation_checks import check_annotations
from aemim_mm.det.annotation_files import read_annotations
from aemim_mm.det.annotation_masks import BOXES_ONLY, check_masks
from aemim_mm.det.coco_config import set_classes
from aemim_mm.errors import UserError
from aemim_mm.launch import load_config

REDUCED = runs.REPO / 'tests/det/reduced_1x.py'
NO_SEGMENTATION = without('annotations', 'segmentation')
FROM_SCRATCH = ('model.backbone.init_cfg=None', 'train_cfg.val_interval=1')


@pytest.fixture(scope='module')
def config(made_coco):
    return load_config(REDUCED, data_root=made_coco)


def prepare(config, root, **options):
    """Check the files of a copy of the config, with other options."""
    cfg = copy.deepcopy(config)
    of_config.set_data_root(cfg, str(root))
    cfg.merge_from_dict({'val_evaluator.ann_file': str(file(root, 'val')), **options})
    set_classes(cfg, None, ('train_dataloader', 'val_dataloader'))
    return cfg


def test_boxes_without_masks(coco_root, tmp_path, capsys):
    """Mask R-CNN refuses them before any work, and names the config that learns from boxes."""
    for split in ('train', 'val'):
        rewrite(file(coco_root, split), both(NO_SEGMENTATION, without('annotations', 'iscrowd')))
    with pytest.raises(SystemExit) as end:
        runs.train(REDUCED, tmp_path / 'work', '--data-root', coco_root, options=FROM_SCRATCH, shrunk=())
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert end.value.code == 2 and f'{file(coco_root)}: annotation 1 (and ' in line
    assert 'no segmentation, but the pipeline of train_dataloader loads masks (with_mask=True)' in line
    named = re.findall(r'configs/\S+\.py', line)
    assert named == list(BOXES_ONLY) and all((runs.REPO / name).is_file() for name in named)

    # That config, with the network of the reduced one.
    text = ''.join(row for row in REDUCED.read_text().splitlines(True) if not row.lstrip().startswith('mask_'))
    text = text.replace('../..', str(runs.REPO)).replace('mask-rcnn', 'faster-rcnn').replace(', with_mask=True', '')
    (tmp_path / 'boxes.py').write_text(text)
    runs.train(tmp_path / 'boxes.py', tmp_path / 'work', '--data-root', coco_root, options=FROM_SCRATCH, shrunk=())
    assert 'coco/bbox_mAP' in runs.log_of(tmp_path / 'work') and len(runs.scalars(tmp_path / 'work')) == 2


BAD_MASKS = {
    'empty': [],
    'null': None,
    'two points': [[1, 2, 3, 4]],
    'odd': [[1, 2, 3, 4, 5, 6, 7]],
    'text': [['1', '2', '3', '4', '5', '6']],
    'no list of polygons': [1, 2, 3, 4, 5, 6],
    'infinite': [[1, 2, 3, 4, 5, 1e999]],
    'run lengths alone': 'abc',
    'another size': dict(size=[32, 64], counts=[2048]),
    'counts that do not fill the image': dict(size=[64, 64], counts=[100, 100]),
    'no counts': dict(size=[64, 64]),
}


@pytest.mark.parametrize('mask', BAD_MASKS.values(), ids=BAD_MASKS)
def test_masks_that_are_wrong(made_coco, mask):
    content = json.loads(file(made_coco).read_text())
    check_annotations('x.json', content)
    check_masks('x.json', content, 'it is a test')
    content['annotations'][2]['segmentation'] = mask
    with pytest.raises(UserError, match='x.json: .*') as error:
        check_masks('x.json', content, 'it is a test')
    message = str(error.value)
    if mask:
        assert 'number 2 of its annotations has segmentation ' in message and '(id 3)' in message
        assert 'Expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] of three points or more, or run' in message
    else:
        assert 'annotation 3 has no segmentation, but it is a test. Add masks, or learn boxes only, with' in message


def test_the_evaluator_may_need_more_than_the_data(coco_root, config):
    def refused(match, **options):
        with pytest.raises(UserError, match=match) as error:
            prepare(config, coco_root, **options)
        assert '\n' not in str(error.value)

    boxes = {'val_dataloader.dataset.pipeline': []}
    rewrite(file(coco_root, 'val'), NO_SEGMENTATION)
    refused('the pipeline of val_dataloader loads masks')
    refused(r'the evaluator of val_dataloader measures masks \(metric segm\)', **boxes)
    prepare(config, coco_root, **boxes, **{'val_evaluator.metric': 'bbox'})
    boxes['val_evaluator.ann_file'] = str(file(coco_root, 'other'))
    refused('There is no annotation file .*instances_other2017', **boxes)
    coco_shapes.make_split(coco_root, 'other', 7, size=64, seed=1)
    refused(r'The evaluator of val_dataloader reads \S+other2017.json, which lacks 1 of .* such as id 8.', **boxes)
    rewrite(file(coco_root, 'val'), lambda content: dict(content, annotations=[]))
    refused('has no annotations, so there is nothing to measure')


def small(box):
    return [side / 64 for side in box]


@pytest.mark.parametrize(
    ('edit', 'changes'),
    [
        (lambda content: dict(content, annotations=[]), {}),
        (each('annotations', bbox=small), {}),
        (each('annotations', category_id=lambda number: 1), dict(metainfo=dict(classes=('square',)))),
        (lambda content: None, dict(filter_cfg=dict(min_size=65))),
    ],
    ids=['none', 'boxes in parts of the image', 'of other classes', 'in small images'],
)
def test_no_object_to_learn(coco_root, edit, changes):
    rewrite(file(coco_root), edit)
    fields = dict(type='CheckedCocoDataset', ann_file=str(file(coco_root)), data_prefix=dict(img='train2017/'))
    fields['metainfo'] = dict(classes=coco_shapes.CLASSES)
    message = 'None of the 8 images of .* has an object to learn: of the classes (circle, )?square.* of 1x1 pixels'
    with pytest.raises(UserError, match=message):
        DATASETS.build({**fields, **changes})
    assert len(DATASETS.build({**fields, **changes, 'test_mode': True})) == 8


def test_boxes_that_reach_beyond_their_image(coco_root, monkeypatch):
    for number, edges in enumerate((9, 60.5, 10)):
        rewrite(file(coco_root), one('annotations', number, bbox=[54.5, 20, edges, 30]))
    monkeypatch.setattr('aemim_mm.det.annotation_checks.print_log', lambda text, *_: warnings.append(text))
    warnings = []
    read_annotations(str(file(coco_root)))
    (warning,) = warnings
    assert '1 of 12 boxes reach beyond their image, first: annotation 2 with bbox [54.5, 20, 60.5, 30]' in warning
