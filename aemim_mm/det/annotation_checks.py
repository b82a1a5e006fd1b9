"""Check the fields of annotations in COCO's format."""

import logging
import reprlib
from collections.abc import Callable, Sequence
from math import isfinite

from mmengine.logging import print_log

from ..errors import UserError, first_of
from .annotation_repairs import mend

LAYOUT = (
    'Expected a file in the format of COCO: images with id, file_name, height and width; categories with id and name; '
    'annotations with id, image_id, category_id, bbox and area.'
)


def are_numbers(value) -> bool:
    try:
        return isinstance(value, list) and all(map(isfinite, value))
    except (TypeError, OverflowError):
        return False


def _is_id(value) -> bool:
    return type(value) in (int, str)


def _is_text(value) -> bool:
    return isinstance(value, str) and value != ''


def _is_side(value) -> bool:
    return type(value) is int and value > 0


def _is_area(value) -> bool:
    return are_numbers([value]) and value >= 0


def _is_box(value) -> bool:
    return are_numbers(value) and len(value) == 4 and value[2] >= 0 and value[3] >= 0


def _is_flag(value) -> bool:
    return value in (0, 1)


ID = (_is_id, 'a whole number or text')
SIDE = (_is_side, 'a whole number of pixels, 1 or more')
# For each field: what it must be, in code and in words.
RULES: dict[str, dict[str, tuple[Callable[[object], bool], str]]] = dict(
    images=dict(id=ID, file_name=(_is_text, 'the path of the image in the image folder'), height=SIDE, width=SIDE),
    categories=dict(id=ID, name=(_is_text, 'text')),
    annotations=dict(
        image_id=ID,
        category_id=ID,
        bbox=(_is_box, 'four finite numbers: x, y, width and height in pixels, the last two not negative'),
        area=(_is_area, 'the area of the mask, or width x height of the box, in pixels'),
        iscrowd=(_is_flag, '0 or 1'),
    ),
)


def check_annotations(path: str, content: dict) -> None:
    """Check each field that mmdet and pycocotools read, except the masks, after ``mend`` has mended some in place.

    Args:
        path: Name of the file, for messages.
        content: Content of the file.

    Raises:
        UserError: The first wrong field, with its value, what was expected, and the number of others.
    """
    for part, rules in RULES.items():
        # COCO's files for test images have no annotations.
        items = content.get(part, [] if part == 'annotations' and 'image_info' in path else None)
        if not isinstance(items, list):
            raise UserError(f'The annotation file {path} has no list of {part}. {LAYOUT}')
        if not items and part != 'annotations':
            raise UserError(f'The annotation file {path} has an empty list of {part}. Expected one or more. {LAYOUT}')
        refuse(path, items, part, [i for i, item in enumerate(items) if not isinstance(item, dict)], next(iter(rules)))
    annotations = content.get('annotations', [])
    mend(content['images'], content['categories'], annotations)
    for part, rules in RULES.items():
        items = content.get(part, [])
        for field, (is_right, expected) in rules.items():
            wrong = [i for i, item in enumerate(items) if not is_right(item.get(field))]
            refuse(path, items, part, wrong, field, expected)
    _check_ids(path, content['images'], content['categories'], annotations)
    _check_places(path, content['images'], annotations)


def _check_ids(path: str, images: list[dict], categories: list[dict], annotations: list[dict]) -> None:
    """Ids are unique and of one type, and references lead somewhere."""
    for part, items, fields in (
        ('images', images, ('id',)),
        ('categories', categories, ('id', 'name')),
        ('annotations', annotations, ('id',)),
    ):
        for field in fields:
            _refuse_repeated(path, items, part, field, ' or '.join(fields))
    for items, field in ((images, 'image_id'), (categories, 'category_id')):
        _check_references(path, items, annotations, field)


def _refuse_repeated(path: str, items: list[dict], part: str, field: str, fields: str) -> None:
    values = [item[field] for item in items]
    distinct = set(values)
    if len(distinct) == len(values):
        return
    first = {}
    for number, value in enumerate(values):
        if first.setdefault(value, number) != number:
            raise UserError(
                f'The annotation file {path} has two {part} of the same {fields}: numbers {first[value]} and {number} '
                f'of its {part} have the {field} {value!r}, and {len(values) - len(distinct)} of {len(values)} repeat '
                'another. Expected different ones. Rename one, or leave out what is there twice.'
            )


def _check_references(path: str, items: list[dict], annotations: list[dict], field: str) -> None:
    part = 'images' if field == 'image_id' else 'categories'
    known = {item['id']: item.get('name') for item in items}
    # NumPy, which sorts them, would turn numbers into text.
    refuse(path, items, part, _of_other_type(known), 'id', f'the same type as {next(iter(known))!r}, the first id')
    wrong = [item for item in annotations if item[field] not in known]
    if wrong:
        shown = first_of([f'{number!r}: {name}' if name else repr(number) for number, name in known.items()], 12)
        others = f' ({len(wrong) - 1} others are of unknown {part}, too)' if len(wrong) > 1 else ''
        raise UserError(
            f'The annotation file {path}: annotation {wrong[0]["id"]} is of {field} {wrong[0][field]!r}, which is none '
            f'of its {part} ({shown}){others}. Add it to the {part}, or mend the annotation.'
        )


def _of_other_type(ids: dict) -> list[int]:
    kind = type(next(iter(ids)))
    return [number for number, value in enumerate(ids) if type(value) is not kind]


def _check_places(path: str, images: list[dict], annotations: list[dict]) -> None:
    """Boxes are inside their image. A box that is partly outside is worth a warning."""
    sizes = {image['id']: (image['width'], image['height']) for image in images}
    outside, beyond = [], []
    for number, annotation in enumerate(annotations):
        (x, y, width, height), (right, bottom) = annotation['bbox'], sizes[annotation['image_id']]
        if x > right or y > bottom or x + width < 0 or y + height < 0:
            outside.append(number)
        # A pixel more is rounding.
        elif x < -1 or y < -1 or x + width > right + 1 or y + height > bottom + 1:
            beyond.append(number)
    if outside:
        right, bottom = sizes[annotations[outside[0]]['image_id']]
        expected = f'x, y, width and height in pixels inside its image of {right}x{bottom} (width x height)'
        refuse(path, annotations, 'annotations', outside, 'bbox', expected)
    if beyond:
        first = annotations[beyond[0]]
        right, bottom = sizes[first['image_id']]
        print_log(
            f'{path}: {len(beyond)} of {len(annotations)} boxes reach beyond their image, first: annotation '
            f'{first["id"]} with bbox {first["bbox"]} in an image of {right}x{bottom} (width x height). Is bbox x, y, '
            'width and height in pixels?',
            'current',
            logging.WARNING,
        )


def refuse(path: str, items: list, part: str, wrong: Sequence[int], field: str, expected: str = '') -> None:
    """Raise a UserError if ``wrong``, the numbers of items whose field is wrong, has any."""
    if not wrong:
        return
    item = items[wrong[0]]
    notes = [f'id {item["id"]!r}'] if isinstance(item, dict) and 'id' in item and field != 'id' else []
    notes += [f'{len(wrong) - 1} others are wrong, too'] if len(wrong) > 1 else []
    found = f'{field} {reprlib.repr(item[field])}' if isinstance(item, dict) and field in item else f'no {field}'
    noted = f' ({"; ".join(notes)})' if notes else ''
    end = f'Expected {expected}. Mend it, or export the file again.' if expected and found[:3] != 'no ' else LAYOUT
    raise UserError(f'The annotation file {path}: number {wrong[0]} of its {part} has {found}{noted}. {end}')
