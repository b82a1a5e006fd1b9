"""Images in class folders, or in a list with labels, in which some files may be unreadable."""

import logging
import os.path as osp
from collections import Counter
from pathlib import Path

from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from ..errors import UserError, first_of
from .files import EXTENSIONS, describe, find_images, is_local, require_image_folder, sorted_kinds
from .shift_classes import class_folders
from .skipping import SkipsUnreadable

EXPECTED = 'Expected: DIR/<class>/any/depth/*.jpg, where DIR is data_root/data_prefix.'


@DATASETS.register_module()
class LabelledFolder(SkipsUnreadable, CustomDataset):
    """The images in class folders at any depth, or the images of a list with labels.

    This is mmpretrain's ``CustomDataset`` for labelled images, and ``load_config`` puts it in place of
    ``CustomDataset``. It finds the same files as :class:`UnlabelledFolder`, ignores hidden folders and, in training,
    replaces unreadable images in the same way.

    Args:
        data_root, data_prefix, extensions, pipeline: As in :class:`UnlabelledFolder`.
        ann_file: A list of images, relative to ``data_root``. A line is a path relative to ``data_root/data_prefix``, a
            space and a label, 0 or more. Default: the class folders give the labels.
        classes: Names of the classes, in the order of their labels. A class without a folder has no image here. If no
            name is a folder's, the names are those of the sorted folders. Default: the sorted names of the folders.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Raises:
        UserError: The folder does not exist or has no class folder or image; a class folder is not in ``classes``; a
            line of the list is wrong.
    """

    def __init__(self, data_root: str = '', extensions: tuple = EXTENSIONS, **kwargs):
        if not (data_root or kwargs.get('data_prefix') or kwargs.get('ann_file')):
            raise UserError(f'LabelledFolder got no folder. {EXPECTED}')
        super().__init__(data_root=osp.expanduser(data_root), extensions=extensions, **kwargs)

    def load_data_list(self) -> list:
        """List the images with their labels."""
        root = str(self.img_prefix)
        if not is_local(root):
            return super().load_data_list()
        samples = self._listed() if self.ann_file else self._found(osp.abspath(root))
        return [dict(img_path=osp.join(root, name), gt_label=label) for name, label in samples]

    def _found(self, root: str) -> list:
        require_image_folder(root, EXPECTED)
        folders = class_folders(root, EXPECTED, None)
        self.folder_to_idx = self._labels(folders, root)
        samples, ignored, empty = [], [], []
        for name, label in self.folder_to_idx.items():
            images, other = find_images(osp.join(root, name), self.is_valid_file) if name in folders else ([], [])
            samples += [(osp.join(name, image), label) for image in images]
            ignored += other
            empty += [] if images else [name]
        if not samples:
            raise UserError(
                f'There is no image in the class folders of {root}. Looked, at any depth, for '
                f'{", ".join(sorted_kinds(self.extensions))} (upper case too) and saw {describe(ignored)}. {EXPECTED}'
            )
        self._say(root, empty, ignored)
        return samples

    def _labels(self, folders: list, root: str) -> dict:
        """Return the label of each class."""
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(folders)
        names = list(self.CLASSES or ())
        if not set(names) & set(folders) and len(names) == len(folders):
            names = folders
        unknown = [folder for folder in folders if folder not in names]
        if unknown:
            raise UserError(
                f'{root} has the class folders {first_of(map(repr, unknown))}, which are not among the {len(names)} '
                'classes of the data set. Add them to classes, or move the folders elsewhere.'
            )
        return {name: label for label, name in enumerate(names)}

    def _say(self, root: str, empty: list, ignored: list) -> None:
        """Log what may surprise: classes without images, images without a class, files of other kinds."""
        loose = [path.name for path in sorted(Path(root).iterdir()) if path.is_file() and self.is_valid_file(path.name)]
        cases = Counter(map(str.lower, self.folder_to_idx))
        twins = [name for name in self.folder_to_idx if cases[name.lower()] > 1]
        for found, what in (
            (empty, 'classes without an image'),
            (loose, 'images outside the class folders, which are not read'),
            (twins, 'class folders whose names differ in upper and lower case only'),
        ):
            if found:
                print_log(f'{root} has {len(found)} {what}: {first_of(found)}.', 'current', logging.WARNING)
        if ignored:
            print_log(f'Not read in the class folders of {root}: {describe(ignored)}.', 'current')

    def _listed(self) -> list:
        path = str(self.ann_file)
        if not osp.isfile(path):
            raise UserError(f'There is no list {osp.abspath(path)}. Expected: a line "PATH LABEL" for each image.')
        samples, count = [], len(self.CLASSES or ())
        for number, line in enumerate(Path(path).read_text('utf-8', 'surrogateescape').split('\n'), 1):
            name, _, label = line.strip().rpartition(' ')
            if not line.strip():
                continue
            if not name or not label.isdecimal() or (count and int(label) >= count):
                wanted = f'a label from 0 to {count - 1}' if count else 'a label, a number from 0 on'
                raise UserError(
                    f'Line {number} of {path} is {line.strip()!r}. Expected: a path, a space and {wanted}. Correct it.'
                )
            samples.append((name.strip(), int(label)))
        if not samples:
            raise UserError(f'The list {path} names no image. Expected: a line "PATH LABEL" for each image.')
        return samples
