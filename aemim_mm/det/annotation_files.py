"""Read annotation files in COCO's format once, for the checks before a run and for mmdet."""

import gc
import json
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmdet.datasets.api_wrappers import COCO

from ..errors import UserError
from .annotation_checks import LAYOUT, check_annotations

GZIP = b'\x1f\x8b'
# Absolute path to content: files that were read by a check, until mmdet takes them.
_kept: dict[str, dict] = {}


class CocoAnnotations(COCO):
    """mmdet's ``COCO`` that reads files by :func:`read_annotations`.

    Args:
        annotation_file: Path of the file. None: start empty.
    """

    def __init__(self, annotation_file: str | None = None):
        super().__init__()
        if annotation_file is not None:
            self.dataset = _kept.pop(osp.realpath(annotation_file), None) or read_annotations(annotation_file)
            self.createIndex()
            self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


def keep(path: str, content: dict) -> None:
    """Hand the content of a file to the next ``CocoAnnotations`` of this file, which then does not read it again."""
    _kept[osp.realpath(path)] = content


def read_annotations(path: str) -> dict:
    """Read and check an annotation file; mend what has only one meaning (see ``annotation_repairs.mend``).

    Args:
        path: A local file, in UTF-8, UTF-16 or UTF-32, with or without byte-order mark.

    Returns:
        The content, with the keys ``images``, ``categories`` and (unless it lists test images) ``annotations``.

    Raises:
        UserError: The file is missing, is no JSON, or a field is wrong.
    """
    if not osp.isfile(path):
        raise UserError(
            f'There is no annotation file {osp.abspath(path)}. Put it there, or say where the data are with '
            '--data-root DIR, or name the file with --cfg-options train_dataloader.dataset.ann_file=FILE.'
        )
    with without_collection():
        content = _parse(path)
        check_annotations(path, content)
    return content


def _parse(path: str) -> dict:
    try:
        raw = Path(path).read_bytes()
        # json detects the encoding, and the byte-order mark.
        content = json.loads(raw)
    except OSError as error:
        raise UserError(
            f'The annotation file {path} cannot be read: {error.strerror}. Mend its permissions.'
        ) from error
    except json.JSONDecodeError as error:
        several = ' Expected one object in the file, not one a line.' if error.msg == 'Extra data' else ''
        raise UserError(
            f'The annotation file {path} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.'
            f'{several} Copy or export it again.'
        ) from error
    except UnicodeDecodeError as error:
        if raw.startswith(GZIP):
            raise UserError(
                f'The annotation file {path} is no JSON but compressed. Decompress it with gunzip.'
            ) from error
        raise UserError(
            f'The annotation file {path} is no JSON: {error}. Expected UTF-8. Convert it, for example with iconv -f '
            'latin1 -t utf-8, or export it again.'
        ) from error
    if not isinstance(content, dict):
        first = content[0] if isinstance(content, list) and content else None
        found = ', but predictions' if isinstance(first, dict) and 'score' in first else ''
        raise UserError(f'The annotation file {path} has no list of images{found}. {LAYOUT}')
    return content


@contextmanager
def without_collection() -> Iterator[None]:
    """Inside, Python does not look for cycles: the millions of lists and dicts of a file have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
