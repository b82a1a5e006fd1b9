"""Change annotation files as other tools write them, or as faults leave them."""

import json


def file(root, split='train'):
    """Return the path of the annotation file of a split of ``coco_shapes``."""
    return root / f'annotations/instances_{split}2017.json'


def rewrite(path, edit):
    """Let ``edit`` change the content of a file. It returns None, or another content, or text, or bytes."""
    content = json.loads(path.read_text())
    edited = edit(content)
    edited = content if edited is None else edited
    edited = edited if isinstance(edited, (str, bytes)) else json.dumps(edited)
    path.write_bytes(edited.encode() if isinstance(edited, str) else edited)


def each(part, **changes):
    """An edit that calls ``changes[field](value)`` for each item of ``part``."""

    def edit(content):
        for item in content[part]:
            item.update({field: change(item[field]) for field, change in changes.items()})

    return edit


def without(part, field):
    """An edit that leaves a field out of each item of ``part``."""

    def edit(content):
        for item in content[part]:
            item.pop(field)

    return edit


def both(*edits):
    """An edit that does several, one after the other."""

    def edit(content):
        for one in edits:
            one(content)

    return edit


def one(part, number, **fields):
    """An edit that sets the fields of one item."""
    return lambda content: content[part][number].update(fields)
