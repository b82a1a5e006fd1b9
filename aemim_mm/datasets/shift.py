"""Test sets of ImageNet classifiers under distribution shift.

In all of them ``gt_label`` is one of ImageNet's 1,000 labels, so classifiers need no change. If a data set covers only
some classes, ``metainfo['class_subset']`` lists their labels, and the metric ``SubsetAccuracy`` takes the best of these
classes. If several labels are right, ``gt_label`` is a list.
"""

import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.registry import DATASETS

from ..errors import UserError, unknown_name
from .corruptions import CORRUPTIONS, check_severity
from .files import EXTENSIONS, find_images
from .shift_classes import class_folders, imagenet_wnids, labels_of_folders


class ShiftedImageNet(CustomDataset):
    """Images in class folders named by WordNet ids: the base class of the test sets.

    Args:
        data_root: The folder of the data set.
        pipeline: Transforms.
        data_prefix: The folder inside ``data_root`` that contains the class folders.
        num_folders: The expected number of class folders. None accepts any number, for a part of the data set. Default
            (-1): the number of the data set.
        **kwargs: Arguments of mmpretrain's ``CustomDataset``. ``test_mode`` is True by default.

    Raises:
        UserError: The data are missing, incomplete or in another layout. The message names the folder and the layout.
    """

    data_root: str
    METAINFO = {'classes': IMAGENET_CATEGORIES}
    LAYOUT = '<wnid>/*.JPEG with 1000 folders'
    NUM_FOLDERS = len(IMAGENET_CATEGORIES)
    # Whether only the classes that have a folder compete.
    SUBSET = False

    def __init__(
        self,
        data_root: str = '',
        pipeline: Sequence = (),
        data_prefix: str = '',
        num_folders: int | None = -1,
        **kwargs,
    ):
        if not data_root:
            raise UserError(f'{type(self).__name__} got no data_root. {self.expected()}')
        self.num_folders = self.NUM_FOLDERS if num_folders == -1 else num_folders
        kwargs = {'extensions': EXTENSIONS, 'test_mode': True, **kwargs}
        super().__init__(data_root=osp.expanduser(data_root), data_prefix=data_prefix, pipeline=pipeline, **kwargs)

    def expected(self) -> str:
        """Return a sentence about the layout, for messages."""
        return f'Expected in the data_root of {type(self).__name__}: {self.LAYOUT}.'

    def image_root(self) -> str:
        """Return the folder that contains the class folders."""
        return str(self.img_prefix or self.data_root)

    def folder_labels(self) -> dict:
        """Return the label, or the list of labels, of each class folder."""
        return labels_of_folders(self.image_root(), self.expected(), self.num_folders)

    def check_layout(self) -> None:
        """Raise a UserError if class folders are missing. This is quick, since it does not list the images."""
        self.folder_labels()

    def load_data_list(self) -> list:
        """List the images of all class folders."""
        labels, root = self.folder_labels(), self.image_root()
        samples = [
            (osp.join(folder, image), labels[folder])
            for folder in sorted(labels)
            for image in find_images(osp.join(root, folder), self.is_valid_file)[0]
        ]
        if not samples:
            kinds = ', '.join(sorted(self.extensions))
            raise UserError(f'There is no image ({kinds}) in the class folders of {root}. {self.expected()}')
        if self.SUBSET:
            self._metainfo['class_subset'] = np.unique(np.hstack(list(labels.values()))).tolist()
        return [dict(img_path=osp.join(root, path), gt_label=label) for path, label in samples]

    def get_cat_ids(self, idx: int) -> list:
        """Return the labels of an image."""
        return np.atleast_1d(self.get_data_info(idx)['gt_label']).tolist()


@DATASETS.register_module()
class ImageNetA(ShiftedImageNet):
    """ImageNet-A, natural adversarial examples: 7,500 images, 200 classes.

    Layout of ``data_root``: ``<wnid>/*.jpg``, as in the archive. The folders define the 200 classes, which differ from
    the classes of ImageNet-R.

    Source: Hendrycks et al., arXiv 1907.07174.
    """

    LAYOUT = '<wnid>/*.jpg with 200 folders'
    NUM_FOLDERS = 200
    SUBSET = True


@DATASETS.register_module()
class ImageNetR(ImageNetA):
    """ImageNet-R, renditions: 30,000 images, 200 classes.

    Layout of ``data_root``: ``<wnid>/*.jpg``, as in the archive. The folders define the classes.

    Source: Hendrycks et al., arXiv 2006.16241.
    """


@DATASETS.register_module()
class ImageNetSketch(ShiftedImageNet):
    """ImageNet-Sketch: 50,889 drawings, 1,000 classes.

    Layout of ``data_root``: ``<wnid>/*.JPEG``, as in the archive's folder ``sketch``.

    Source: Wang et al., arXiv 1905.13549.
    """


@DATASETS.register_module()
class StylizedImageNet(ShiftedImageNet):
    """Stylized-ImageNet: the 50,000 validation images of ImageNet in the styles of paintings, 1,000 classes.

    Layout of ``data_root``: ``val/<wnid>/*``, as the authors' scripts write it. The score is the accuracy over 1,000
    classes, as in the robustness tables of MIM methods. The accuracy over 16 groups of classes (texture-shape cue
    conflict) belongs to another data set.

    Source: Geirhos et al., arXiv 1811.12231.
    """

    LAYOUT = 'val/<wnid>/*.JPEG with 1000 folders'

    def __init__(self, data_root: str = '', pipeline: Sequence = (), data_prefix: str = 'val', **kwargs):
        super().__init__(data_root, pipeline, data_prefix, **kwargs)


@DATASETS.register_module()
class ImageNetC(ShiftedImageNet):
    """ImageNet-C: the 50,000 validation images of ImageNet under one corruption at one severity, 1,000 classes.

    Layout of ``data_root``: ``<corruption>/<severity>/<wnid>/*.JPEG``. The folders of the archives (``noise``,
    ``blur``, ``weather``, ``digital``) may stand between ``data_root`` and the corruption.

    The images have 224 x 224 pixels: they were cropped before they were corrupted. Use ``native_size`` of
    ``aemim_mm.datasets.shift_pipelines`` for the pipeline.

    Args:
        corruption: A name in ``CORRUPTIONS``.
        severity: 1-5.

    Source: Hendrycks and Dietterich, arXiv 1903.12261.
    """

    LAYOUT = '<corruption>/<severity>/<wnid>/*.JPEG with 1000 folders'
    GROUPS = ('noise', 'blur', 'weather', 'digital')

    def __init__(self, data_root: str = '', pipeline: Sequence = (), corruption: str = '', severity: int = 1, **kwargs):
        if corruption not in CORRUPTIONS:
            raise unknown_name('corruption', corruption, CORRUPTIONS)
        check_severity(severity)
        root = osp.expanduser(data_root)
        group = next((name for name in self.GROUPS if osp.isdir(osp.join(root, name, corruption))), '')
        super().__init__(data_root, pipeline, osp.join(group, corruption, str(severity)), **kwargs)


@DATASETS.register_module()
class ImageNetV2(ShiftedImageNet):
    """ImageNet-V2: 10,000 new test images, 1,000 classes.

    Layout of ``data_root``: ``<label>/*.jpeg``, folders named 0 to 999, as in each of the three archives
    (matched-frequency, threshold-0.7, top-images). The name of a folder is the label. Its place in sorted order is not:
    folder 10 would get label 2.

    Source: Recht et al., arXiv 1902.10811.
    """

    LAYOUT = '<label>/*.jpeg with the folders 0 to 999'

    def folder_labels(self) -> dict:
        """Return the label of each class folder, which is its name."""
        root, count = self.image_root(), len(imagenet_wnids())
        folders = class_folders(root, self.expected(), self.num_folders)
        names = {str(label): label for label in range(count)}
        other = [folder for folder in folders if folder not in names]
        if other:
            raise UserError(f'{root} has a folder {other[0]!r}, which is no number from 0 to 999. {self.expected()}')
        return {folder: names[folder] for folder in folders}
