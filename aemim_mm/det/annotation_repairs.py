"""Mend what has only one meaning in annotations in COCO's format."""


def mend(images: list[dict], categories: list[dict], annotations: list[dict]) -> None:
    """Mend in place what other tools write differently; leave what is wrong as it is.

    - ``iscrowd`` that is missing becomes 0.
    - Ids that are numbers in one place and text in another become numbers. So do whole numbers written as 1.0.
    - Ids of annotations that are missing or not positive numbers are numbered anew. Nothing refers to them, and
      pycocotools takes 0 for "no annotation".
    - Backslashes in file names become slashes.

    Args:
        images, categories, annotations: The lists of the file, all of dicts.
    """
    for items, reference in ((images, 'image_id'), (categories, 'category_id')):
        columns = [(items, 'id'), (annotations, reference)]
        kinds = {type(item.get(field)) for column, field in columns for item in column}
        if len(kinds) > 1 or float in kinds:
            for column, field in columns:
                _make_whole(column, field, text=True)
    for field in ('height', 'width'):
        _make_whole(images, field)
    for image in images:
        if isinstance(image.get('file_name'), str):
            image['file_name'] = image['file_name'].replace('\\', '/')
    for annotation in annotations:
        annotation.setdefault('iscrowd', 0)
    if not all(type(item.get('id')) is int and item['id'] > 0 for item in annotations):
        for number, annotation in enumerate(annotations, start=1):
            annotation['id'] = number


def _make_whole(items: list[dict], field: str, text: bool = False) -> None:
    for item in items:
        value = item.get(field)
        if (isinstance(value, float) and value.is_integer()) or (text and isinstance(value, str) and value.isdecimal()):
            item[field] = int(value)
