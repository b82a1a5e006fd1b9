"""Test sets in which an image may have several right labels: ImageNet-ReaL and ObjectNet."""

import json
import os.path as osp
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from ..errors import UserError
from .corruptions import CropBorder
from .files import find_images
from .shift import ShiftedImageNet
from .shift_classes import class_folders, imagenet_wnids, require_folder


@DATASETS.register_module()
class ImageNetReaL(ShiftedImageNet):
    """ImageNet's validation images with reassessed labels: each image has a set of right labels.

    Layout of ``data_root``: ImageNet's, with ``val/ILSVRC2012_val_000xxxxx.JPEG`` or ``val/<wnid>/...``, and
    ``real.json`` beside ``val``. Item ``i`` of this list, counted from 0, has the labels of image ``i + 1``. Images
    without labels are left out, as in the paper. Use the metric ``RealAccuracy``.

    Args:
        ann_file: The path of the list relative to ``data_root``.

    Source: Beyer et al., arXiv 2006.07159.
    """

    ann_file: str
    LAYOUT = 'real.json, and val/ILSVRC2012_val_00000001.JPEG or val/<wnid>/ILSVRC2012_val_00000001.JPEG'

    def __init__(
        self,
        data_root: str = '',
        pipeline: Sequence = (),
        data_prefix: str = 'val',
        ann_file: str = 'real.json',
        **kwargs,
    ):
        super().__init__(data_root, pipeline, data_prefix, ann_file=ann_file, **kwargs)

    def check_layout(self) -> None:
        """Raise a UserError if the images or the labels are missing or malformed."""
        self.load_data_list()

    def load_data_list(self) -> list:
        """List the images that have a label."""
        root = self.image_root()
        require_folder(root, self.expected())
        sets = read_json(str(self.ann_file), self.expected())
        if not isinstance(sets, list) or not all(isinstance(labels, list) for labels in sets):
            raise UserError(f'{self.ann_file} is no list of lists of labels. Take the real.json of ImageNet-ReaL.')
        paths, _ = find_images(root, self.is_valid_file)
        data = []
        for path in paths:
            labels = self._labels_of(path, sets)
            if labels:
                data.append(dict(img_path=osp.join(root, path), gt_label=labels))
        if not data:
            raise UserError(f'{root} has no image with a label in {self.ann_file}. {self.expected()}')
        if len(paths) != len(sets):
            print_log(f'{root} has {len(paths)} of the {len(sets)} images of {self.ann_file}.', 'current')
        return data

    def _labels_of(self, path: str, sets: list) -> list:
        found = re.fullmatch(r'ILSVRC2012_val_(\d{8})', osp.splitext(osp.basename(path))[0])
        number = int(found[1]) if found else 0
        if not 1 <= number <= len(sets):
            raise UserError(
                f'{self.ann_file} has labels for ILSVRC2012_val_00000001 to ILSVRC2012_val_{len(sets):08d}, but '
                f"{self.image_root()} has {path}. Take ImageNet's own validation images and the whole list."
            )
        return sets[number - 1]


@DATASETS.register_module()
class ObjectNet(ShiftedImageNet):
    """ObjectNet's images of the 113 classes, out of 313, that it shares with ImageNet.

    Layout of ``data_root``, as in the archive: ``images/<class>/*.png`` and, in ``mappings/``,
    ``folder_to_objectnet_label.json``, ``objectnet_to_imagenet_1k.json``, ``pytorch_to_imagenet_2012_id.json`` and
    ``imagenet_to_label_2012_v2``. These files map a class of ObjectNet to one or several classes of ImageNet, each of
    which is right. ``metainfo['class_subset']`` lists all of these classes. With ``SubsetAccuracy`` only they compete;
    with ``CorrectMetric`` all 1,000 classes compete. Papers use both, so state the metric when you report a number.

    Every image has a red border of 2 pixels, which marks it as a test image. The border is cropped after the first step
    of the pipeline, which loads the image.

    Source: Barbu et al., NeurIPS 2019, and the data set's README.
    """

    LAYOUT = 'images/<class>/*.png with 313 folders, and mappings/ as in the archive'
    NUM_FOLDERS = 313
    SUBSET = True
    BORDER = 2

    def __init__(self, data_root: str = '', pipeline: Sequence = (), data_prefix: str = 'images', **kwargs):
        super().__init__(data_root, pipeline, data_prefix, **kwargs)
        if self.pipeline.transforms:
            self.pipeline.transforms.insert(1, CropBorder(self.BORDER))

    def folder_labels(self) -> dict:
        """Return the labels of each class folder that ImageNet has a class for."""
        folders = class_folders(self.image_root(), self.expected(), self.num_folders)
        name_of, names_in_imagenet, labels_of = self._mappings()
        unknown = [folder for folder in folders if folder not in name_of]
        if unknown:
            raise UserError(
                f'{self.image_root()} has a folder {unknown[0]!r} that is not in mappings/'
                f'folder_to_objectnet_label.json. {self.expected()}'
            )
        shared = [folder for folder in folders if name_of[folder] in names_in_imagenet]
        if not shared:
            raise UserError(f'No class in {self.image_root()} is one of ImageNet. {self.expected()}')
        return {folder: labels_of(names_in_imagenet[name_of[folder]]) for folder in shared}

    def _mappings(self) -> tuple:
        """Read the mappings.

        Returns:
            ObjectNet's name of each folder; ImageNet's names, as one text, for each of ObjectNet's; and a function that
            maps such a text to labels.
        """
        folder = osp.join(str(self.data_root), 'mappings')
        require_folder(folder, self.expected())
        name_of, names_in_imagenet, id_of_label = (
            read_json(osp.join(folder, f'{name}.json'), self.expected())
            for name in ('folder_to_objectnet_label', 'objectnet_to_imagenet_1k', 'pytorch_to_imagenet_2012_id')
        )
        lines = read_text(osp.join(folder, 'imagenet_to_label_2012_v2'), self.expected()).splitlines()
        count = len(imagenet_wnids())
        if sorted(id_of_label.values()) != list(range(count)) or len(lines) < count:
            raise UserError(
                f'{folder}: pytorch_to_imagenet_2012_id.json must have each id from 0 to {count - 1} once, and '
                f'imagenet_to_label_2012_v2 {count} lines. {self.expected()}'
            )
        labels = defaultdict(list)
        for label, line in sorted((int(label), line) for label, line in id_of_label.items()):
            labels[lines[line].strip()].append(label)

        def labels_of(names):
            names = names.split('; ')
            lacking = [name for name in names if name not in labels]
            if lacking:
                raise UserError(f'{folder}: imagenet_to_label_2012_v2 lacks {lacking[0]!r}. {self.expected()}')
            return sorted(label for name in names for label in labels[name])

        return name_of, names_in_imagenet, labels_of


def read_text(path: str, expected: str) -> str:
    """Read a text file; raise a UserError with the sentence ``expected`` if it does not exist."""
    if not osp.isfile(path):
        raise UserError(f'There is no file {osp.abspath(path)}. {expected}')
    return Path(path).read_text(encoding='utf-8')


def read_json(path: str, expected: str) -> Any:
    """Read a JSON file; raise a UserError if it does not exist or is no JSON."""
    try:
        return json.loads(read_text(path, expected))
    except json.JSONDecodeError as error:
        raise UserError(f'{path} is no JSON: {error}. Copy it again.') from error
