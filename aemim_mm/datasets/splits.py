"""Split a labelled folder into images to train on and images for tests."""

import hashlib
import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError, first_of
from .labelled_folder import LabelledFolder
from .loading import UnreadableImageError, read_image

# Folders of a data set that is split already.
PARTS = {'train', 'val', 'valid', 'validation', 'test'}


class LabelledImage(NamedTuple):
    """An image file.

    Attributes:
        path: Relative to the folder.
        label: Number of its class.
    """

    path: str
    label: int


class Split(NamedTuple):
    """The parts of a labelled folder.

    Attributes:
        classes: Names of the classes, in the order of their labels.
        unlabelled: Images to pre-train on: all that are not for tests.
        labelled: Images to fine-tune on, among ``unlabelled``.
        test: Images for tests.
        unreadable: Paths of the files that cannot be read, or whose path has a line break; they are in no part.
    """

    classes: list[str]
    unlabelled: list[LabelledImage]
    labelled: list[LabelledImage]
    test: list[LabelledImage]
    unreadable: list[str]


def split_folder(folder: str | PathLike, test_share: float = 0.25, labels: int | None = None) -> Split:
    """Split a labelled folder, class by class, in the order of a hash of the paths.

    The parts depend on the paths only, so they are the same in each call. Every image is decoded once.

    Args:
        folder: As of :class:`LabelledFolder`.
        test_share: Share of each class for tests, in (0, 1); of each class, at least one image is for tests and one to
            train on.
        labels: Number of images of each class to fine-tune on. Default: all that are not for tests.

    Raises:
        UserError: There are fewer than two classes, or a class has fewer than two images that can be read.
    """
    root = Path(folder).resolve()
    dataset = LabelledFolder(data_root=str(root), test_mode=True)
    items = [dataset.get_data_info(number) for number in range(len(dataset))]
    images = [LabelledImage(Path(item['img_path']).relative_to(root).as_posix(), item['gt_label']) for item in items]
    with ThreadPoolExecutor() as pool:
        readable = pool.map(_is_readable, (item['img_path'] for item in items))
        # A list has one image in each line.
        usable = [good and '\n' not in image.path for image, good in zip(images, readable)]
    classes = defaultdict(list)
    for image in itertools.compress(images, usable):
        classes[image.label].append(image)
    names: list[str] = list(dataset.CLASSES or ())
    if len(names) < 2 or set(names) <= PARTS:
        raise UserError(
            f'Expected two classes or more, in a folder each, but {folder} has {first_of(names)}. Name the folder that '
            'has the folders of the classes.'
        )
    if few := [name for label, name in enumerate(names) if len(classes[label]) < 2]:
        raise UserError(
            f'Expected two images or more of each class that can be read, but {first_of(few)} in {folder} has fewer. '
            'Add images, or remove the folder.'
        )
    split = Split(names, [], [], [], [image.path for image, good in zip(images, usable) if not good])
    for label in range(len(names)):
        ordered = sorted(classes[label], key=_hash)
        tests = min(max(round(test_share * len(ordered)), 1), len(ordered) - 1)
        split.test.extend(ordered[:tests])
        split.unlabelled.extend(ordered[tests:])
        split.labelled.extend(ordered[tests:][:labels])
    return split


def _is_readable(path: str) -> bool:
    try:
        read_image(path)
    except UnreadableImageError:
        return False
    return True


def _hash(image: LabelledImage) -> bytes:
    return hashlib.sha256(image.path.encode('utf-8', 'surrogateescape')).digest()
