"""ImageNet's 1,000 classes by their WordNet ids, and folders named by such ids."""

import os
import os.path as osp
from functools import cache
from pathlib import Path

from ..errors import UserError

WNIDS_FILE = Path(__file__).parents[1] / 'data/shift/imagenet_wnids.txt'


@cache
def imagenet_wnids() -> tuple:
    """The WordNet ids of ImageNet-1K's classes in the order of their labels, which is sorted order."""
    return tuple(WNIDS_FILE.read_text(encoding='ascii').split())


@cache
def label_of_wnid() -> dict:
    """The label, 0-999, of each WordNet id."""
    return {wnid: label for label, wnid in enumerate(imagenet_wnids())}


def labels_of_folders(root: str, expected: str, count: int | None) -> dict:
    """Labels of the class folders under ``root``, which are named by WordNet ids.

    Args:
        root: The folder that has the class folders.
        expected: The layout, for messages.
        count: How many class folders there are in the complete data set; None takes any number.

    Returns:
        ``{folder: label in 0-999}``, in the order of the labels.

    Raises:
        UserError: ``root`` is missing, a folder is named otherwise, or some are missing.
    """
    folders = class_folders(root, expected, count)
    labels = label_of_wnid()
    other = [folder for folder in folders if folder not in labels]
    if other:
        raise UserError(
            f"{root} has folders that are no WordNet ids of ImageNet's classes, first: {other[0]!r}. {expected} Move "
            'them elsewhere, or take the folder that has the class folders.'
        )
    return {folder: labels[folder] for folder in folders}


def class_folders(root: str, expected: str, count: int | None) -> list:
    """The folders under ``root``, sorted, hidden ones left out; errors as in :func:`labels_of_folders`."""
    require_folder(root, expected)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))
    if not folders or count is not None and len(folders) != count:
        wanted = 'some' if count is None else count
        part = '' if count is None else ' For a part of the data set, set num_folders=None.'
        raise UserError(f'{root} has {len(folders)} class folders, not {wanted}. {expected}{part}')
    return folders


def require_folder(path: str, expected: str) -> None:
    """Raise a UserError where there is no folder ``path``."""
    if not osp.isdir(path):
        raise UserError(f'There is no folder {osp.abspath(path)}. {expected} Put the data there, or change data_root.')
