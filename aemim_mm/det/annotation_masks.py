"""Check the masks of annotations in COCO's format, for models and metrics that need them."""

from ..errors import UserError, first_of
from .annotation_checks import are_numbers, refuse

BOXES_ONLY = (
    'configs/benchmarks/coco/faster-rcnn_vitdet-b_1x_coco.py',
    'configs/benchmarks/coco/faster-rcnn_swin-b_1x_coco.py',
)


def check_masks(path: str, content: dict, reason: str) -> None:
    """Check that each annotation has a mask of the size of its image.

    Args:
        path: Name of the file, for messages.
        content: Content of the file, checked by :func:`check_annotations`.
        reason: Why masks are needed.

    Raises:
        UserError: A mask is missing, or is neither polygons nor run lengths.
    """
    annotations = content.get('annotations', [])
    sizes = {image['id']: [image['height'], image['width']] for image in content['images']}
    lacking = [i for i, item in enumerate(annotations) if not item.get('segmentation')]
    if lacking:
        others = f' (and {len(lacking) - 1} others of {len(annotations)})' if len(lacking) > 1 else ''
        raise UserError(
            f'The annotation file {path}: annotation {annotations[lacking[0]]["id"]}{others} has no segmentation, but '
            f'{reason}. Add masks, or learn boxes only, with {first_of(BOXES_ONLY)}.'
        )
    wrong = [i for i, a in enumerate(annotations) if not _is_mask(a['segmentation'], sizes[a['image_id']])]
    expected = (
        'polygons [[x1, y1, x2, y2, x3, y3, ...], ...] of three points or more, or run lengths {"size": [height, '
        'width] of the image, "counts": ...}'
    )
    refuse(path, annotations, 'annotations', wrong, 'segmentation', expected)


def _is_mask(value, size: list) -> bool:
    if isinstance(value, list):
        return all(are_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in value)
    if not isinstance(value, dict) or value.get('size') != size:
        return False
    counts = value.get('counts')
    if isinstance(counts, list):
        return are_numbers(counts) and sum(counts) == size[0] * size[1]
    return isinstance(counts, str)
