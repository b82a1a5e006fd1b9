"""Images that lie otherwise than their annotation says."""

import re

import numpy as np
import pytest
from helpers import coco_shapes
from helpers.coco_files import both, file, one, rewrite
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from PIL import Image, ImageOps

from aemim_mm.errors import UserError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
HEIGHT, WIDTH = 48, 64
EXIF_ORIENTATION = 0x0112
NAME = 'phone.jpg'


def photograph(root, orientation, name=NAME):
    """An image whose left half is red, as stored, with an EXIF orientation; return it as stored, BGR."""
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[:, : WIDTH // 2, 0] = 250
    stored[: HEIGHT // 4, :, 1] = 250
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(stored).save(root / 'train2017' / name, exif=exif, quality=95, subsampling=0)
    return stored[..., ::-1]


def dataset(root, kind, test_mode=False, pipeline=LOAD):
    fields = dict(type=kind, ann_file=str(file(root)), data_prefix=dict(img=f'{root}/train2017/'), test_mode=test_mode)
    fields.update(metainfo=dict(classes=coco_shapes.CLASSES), pipeline=pipeline)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(fields)


def annotate(root, width, height):
    """Let the first image be a JPEG of this annotated size."""
    box = dict(bbox=[0, 0, 24, 24], segmentation=[[0, 0, 24, 0, 24, 24]])
    image = dict(file_name=NAME, width=width, height=height)
    rewrite(file(root), both(one('images', 0, **image), one('annotations', 0, **box)))


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of this process."""
    found = []
    monkeypatch.setattr('aemim_mm.det.sizes.print_log', lambda text, *_: found.append(text))
    return found


KINDS = ('CheckedCocoDataset', 'SkippingCocoDataset')


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', KINDS)
def test_the_image_lies_as_it_was_annotated(coco_root, kind, orientation, warnings):
    stored = photograph(coco_root, orientation)
    rotated = np.asarray(ImageOps.exif_transpose(Image.open(coco_root / 'train2017' / NAME)))[..., ::-1]
    for annotated in (rotated, stored) if orientation >= 5 else (rotated,):
        height, width = annotated.shape[:2]
        annotate(coco_root, width, height)
        for test_mode in (False, True):
            loaded = dataset(coco_root, kind, test_mode)[0]
            assert loaded['ori_shape'] == loaded['img_shape'] == loaded['gt_masks'].masks.shape[1:] == (height, width)
            # JPEG is lossy, and half of the image is red.
            assert np.abs(loaded['img'].astype(int) - annotated).mean() < 4
    assert len(warnings) == (2 if orientation >= 5 else 0)
    for warning in warnings:
        assert f'{NAME} has EXIF orientation {orientation}' in warning and 'without rotation' in warning


def test_the_warning_is_given_at_1_10_and_100(coco_root, warnings):
    photograph(coco_root, 6)
    annotate(coco_root, WIDTH, HEIGHT)
    images = dataset(coco_root, 'CheckedCocoDataset')
    for _ in range(11):
        images[0]
    assert [re.search(r'\((\d+) such', warning)[1] for warning in warnings] == ['1', '10']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('orientation', 'annotated', 'message'),
    [
        (
            1,
            (32, 24),
            r'has 64x48 pixels, but its annotation says 32x24 \(width x height\), so the boxes lie elsewhere',
        ),
        (1, (48, 64), r'has 64x48 pixels, but its annotation says 48x64'),
        (3, (48, 64), r'has 64x48 pixels, but its annotation says 48x64'),
        (6, (64, 64), r'has 48x64 pixels, but its annotation says 64x64'),
    ],
)
def test_other_sizes_are_an_error(coco_root, kind, orientation, annotated, message):
    photograph(coco_root, orientation)
    annotate(coco_root, *annotated)
    for test_mode in (False, True):
        with pytest.raises(UserError, match=f'^The image {coco_root}/train2017/{NAME} {message}') as error:
            dataset(coco_root, kind, test_mode)[0]
        assert '\n' not in str(error.value)


def test_a_loader_that_does_not_rotate(coco_root, warnings):
    """It suits annotations of the stored size; for others, the image must be rotated."""
    photograph(coco_root, 6)
    plain = dict(LOAD[0], color_type='color_ignore_orientation')
    annotate(coco_root, WIDTH, HEIGHT)
    assert dataset(coco_root, 'CheckedCocoDataset', pipeline=[plain])[0]['img'].shape == (HEIGHT, WIDTH, 3)
    assert not warnings
    annotate(coco_root, HEIGHT, WIDTH)
    with pytest.raises(UserError, match=r'64x48 pixels \(EXIF orientation 6\), but its annotation says 48x64'):
        dataset(coco_root, 'CheckedCocoDataset', pipeline=[plain])[0]
