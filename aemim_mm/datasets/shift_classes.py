"""The WordNet ids of ImageNet's 1,000 classes, and the labels of folders that are named by them."""

import os
import os.path as osp
from functools import cache
from pathlib import Path

from ..errors import UserError

WNIDS_FILE = Path(__file__).parents[1] / 'data/shift/imagenet_wnids.txt'


@cache
def imagenet_wnids() -> tuple:
    """Return the WordNet ids of ImageNet-1K's classes, ordered by label, which is also their sorted order."""
    return tuple(WNIDS_FILE.read_text(encoding='ascii').split())


@cache
def label_of_wnid() -> dict:
    """Return the label, 0-999, of each WordNet id."""
    return {wnid: label for label, wnid in enumerate(imagenet_wnids())}


def labels_of_folders(root: str, expected: str, count: int | None) -> dict:
    """Return the labels of class folders that are named by WordNet ids.

    Args:
        root: The folder that contains the class folders.
        expected: A sentence about the layout, for messages.
        count: The number of class folders in the complete data set. None accepts any number.

    Returns:
        ``{folder: label in 0-999}``, ordered by label.

    Raises:
        UserError: ``root`` does not exist, a folder has another name, or folders are missing.
    """
    folders = class_folders(root, expected, count)
    labels = label_of_wnid()
    other = [folder for folder in folders if folder not in labels]
    if other:
        raise UserError(
            f"{root} has folders that are no WordNet ids of ImageNet's classes, first: {other[0]!r}. {expected} Move "
            'them elsewhere, or choose the folder that contains the class folders.'
        )
    return {folder: labels[folder] for folder in folders}


def class_folders(root: str, expected: str, count: int | None) -> list:
    """List the folders in ``root``, sorted and without hidden ones; arguments as in :func:`labels_of_folders`."""
    require_folder(root, expected)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))
    if count is not None and len(folders) != count:
        part = ' For a part of the data set, set num_folders=None.'
        raise UserError(f'{root} has {len(folders)} class folders, not {count}. {expected}{part}')
    if not folders:
        raise UserError(f'{root} has no class folder. {expected}')
    return folders


def require_folder(path: str, expected: str) -> None:
    """Raise a UserError if ``path`` is no folder."""
    if not osp.isdir(path):
        raise UserError(f'There is no folder {osp.abspath(path)}. {expected} Put the data there, or change data_root.')
