"""Test sets of ImageNet classifiers under distribution shift.

In all of them ``gt_label`` is in ImageNet's 1,000 labels, so that a classifier needs no change. Where only some
classes count, ``metainfo['class_subset']`` has their labels, and the metric ``SubsetAccuracy`` takes the best class
among those. Where several labels are right, ``gt_label`` is a list.
"""

import os.path as osp

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.datasets.custom import get_samples
from mmpretrain.registry import DATASETS

from ..errors import UserError, unknown_name
from .corruptions import CORRUPTIONS, check_severity
from .shift_classes import class_folders, imagenet_wnids, labels_of_folders

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


class ShiftedImageNet(CustomDataset):
    """Images in class folders named by WordNet ids; the common part of the test sets below.

    Args:
        data_root: The folder of the data set.
        pipeline: Transforms.
        data_prefix: The folder inside ``data_root`` that has the class folders.
        num_folders: How many class folders there must be; None takes a part of the data set as well.
        **kwargs: Of mmpretrain's ``CustomDataset``. ``test_mode`` is True unless given.

    Raises:
        UserError: The data are missing, incomplete or laid out otherwise; the message has the folder and the layout.
    """

    METAINFO = {'classes': IMAGENET_CATEGORIES}
    LAYOUT = '<wnid>/*.JPEG with 1000 folders'
    NUM_FOLDERS = len(IMAGENET_CATEGORIES)
    # Whether the folders are all the classes that count.
    SUBSET = False

    def __init__(self, data_root='', pipeline=(), data_prefix='', num_folders=-1, **kwargs):
        if not data_root:
            raise UserError(f'{type(self).__name__} got no data_root. {self.expected()}')
        # -1, not None: that means any number.
        self.num_folders = self.NUM_FOLDERS if num_folders == -1 else num_folders
        kwargs = {'extensions': EXTENSIONS, 'test_mode': True, **kwargs}
        super().__init__(data_root=osp.expanduser(data_root), data_prefix=data_prefix, pipeline=pipeline, **kwargs)

    def expected(self) -> str:
        """The layout, as a sentence for messages."""
        return f'Expected in the data_root of {type(self).__name__}: {self.LAYOUT}.'

    def image_root(self) -> str:
        """The folder that has the class folders."""
        return self.img_prefix or self.data_root

    def folder_labels(self) -> dict:
        """The label, or labels, of each class folder."""
        return labels_of_folders(self.image_root(), self.expected(), self.num_folders)

    def check_layout(self) -> None:
        """Raise a UserError if folders are missing; the images in them are not looked at, so it is quick."""
        self.folder_labels()

    def load_data_list(self) -> list:
        labels, root = self.folder_labels(), self.image_root()
        samples, _ = get_samples(root, labels, self.is_valid_file)
        if not samples:
            kinds = ', '.join(sorted(self.extensions))
            raise UserError(f'There is no image ({kinds}) in the class folders of {root}. {self.expected()}')
        if self.SUBSET:
            self._metainfo['class_subset'] = sorted({label for item in labels.values() for label in as_list(item)})
        return [dict(img_path=osp.join(root, path), gt_label=label) for path, label in samples]

    def get_cat_ids(self, idx: int) -> list:
        return as_list(self.get_data_info(idx)['gt_label'])


def as_list(label) -> list:
    return list(label) if isinstance(label, (list, tuple)) else [label]


@DATASETS.register_module()
class ImageNetA(ShiftedImageNet):
    """ImageNet-A, natural adversarial examples: 7,500 images, 200 classes.

    Layout of ``data_root``: ``<wnid>/*.jpg``, as the archive unpacks. The 200 classes are the folders that are there,
    so they are right by construction; they are others than those of ImageNet-R.

    Source: Hendrycks et al., arXiv 1907.07174.
    """

    LAYOUT = '<wnid>/*.jpg with 200 folders'
    NUM_FOLDERS = 200
    SUBSET = True


@DATASETS.register_module()
class ImageNetR(ImageNetA):
    """ImageNet-R, renditions: 30,000 images, 200 classes.

    Layout of ``data_root``: ``<wnid>/*.jpg``, as the archive unpacks; the classes are the folders.

    Source: Hendrycks et al., arXiv 2006.16241.
    """


@DATASETS.register_module()
class ImageNetSketch(ShiftedImageNet):
    """ImageNet-Sketch: 50,889 drawings, 1,000 classes.

    Layout of ``data_root``: ``<wnid>/*.JPEG``, as the archive unpacks (its folder ``sketch``).

    Source: Wang et al., arXiv 1905.13549.
    """


@DATASETS.register_module()
class StylizedImageNet(ShiftedImageNet):
    """Stylized-ImageNet: the 50,000 validation images of ImageNet in the styles of paintings, 1,000 classes.

    Layout of ``data_root``: ``val/<wnid>/*``, as its authors' scripts write it. The score is the plain accuracy over
    1,000 classes, as in the robustness tables of MIM methods, not that over 16 groups of classes (texture-shape cue
    conflict), which is of another data set.

    Source: Geirhos et al., arXiv 1811.12231.
    """

    LAYOUT = 'val/<wnid>/*.JPEG with 1000 folders'

    def __init__(self, data_root='', pipeline=(), data_prefix='val', **kwargs):
        super().__init__(data_root, pipeline, data_prefix, **kwargs)


@DATASETS.register_module()
class ImageNetC(ShiftedImageNet):
    """ImageNet-C: the 50,000 validation images of ImageNet under one corruption at one severity, 1,000 classes.

    Layout of ``data_root``: ``<corruption>/<severity>/<wnid>/*.JPEG``. The folders of the archives (``noise``,
    ``blur``, ``weather``, ``digital``) may be between ``data_root`` and the corruption.

    The images are 224 x 224 already, cropped before they were corrupted: take ``native_size`` of
    :mod:`aemim_mm.datasets.shift_pipelines` for the pipeline.

    Args:
        corruption: One of the 15 names of ``CORRUPTIONS``.
        severity: 1-5.

    Source: Hendrycks and Dietterich, arXiv 1903.12261.
    """

    LAYOUT = '<corruption>/<severity>/<wnid>/*.JPEG with 1000 folders'
    GROUPS = ('noise', 'blur', 'weather', 'digital')

    def __init__(self, data_root='', pipeline=(), corruption='', severity=1, **kwargs):
        if corruption not in CORRUPTIONS:
            raise unknown_name('corruption', corruption, CORRUPTIONS)
        check_severity(severity)
        root = osp.expanduser(data_root)
        group = next((name for name in self.GROUPS if osp.isdir(osp.join(root, name, corruption))), '')
        super().__init__(data_root, pipeline, osp.join(group, corruption, str(severity)), **kwargs)


@DATASETS.register_module()
class ImageNetV2(ShiftedImageNet):
    """ImageNet-V2: 10,000 new test images, 1,000 classes.

    Layout of ``data_root``: ``<label>/*.jpeg``, folders named 0 to 999, as each of the three archives unpacks
    (matched-frequency, threshold-0.7, top-images). The name itself is the label: sorted as strings, folder 10 would be
    label 2.

    Source: Recht et al., arXiv 1902.10811.
    """

    LAYOUT = '<label>/*.jpeg with the folders 0 to 999'

    def folder_labels(self) -> dict:
        root, count = self.image_root(), len(imagenet_wnids())
        folders = class_folders(root, self.expected(), self.num_folders)
        names = {str(label): label for label in range(count)}
        other = [folder for folder in folders if folder not in names]
        if other:
            raise UserError(f'{root} has a folder {other[0]!r}, which is no number from 0 to 999. {self.expected()}')
        return {folder: names[folder] for folder in folders}
