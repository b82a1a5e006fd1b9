"""Data sets in COCO's format in which some images may be missing or unreadable."""

import logging
import os
import os.path as osp

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine import dist
from mmengine.logging import MMLogger, print_log

from ..datasets.loading import LoadWholeImage
from ..datasets.skipping import SkipsUnreadable
from ..errors import UserError, first_of
from .annotation_files import CocoAnnotations
from .sizes import MatchAnnotatedSize


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset`` that checks its annotation file, and the size of each image against the file.

    ``read_annotations`` reads the file, and ``MatchAnnotatedSize`` follows the loading step of the pipeline.

    Raises:
        UserError: A field of the file is wrong, or no image is left to train with.
    """

    COCOAPI = CocoAnnotations
    ann_file: str

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        steps = self.pipeline.transforms
        for number, step in reversed(list(enumerate(steps))):
            if isinstance(step, (LoadImageFromFile, LoadWholeImage)):
                steps.insert(number + 1, MatchAnnotatedSize(step.backend_args))

    def filter_data(self) -> list:
        """Leave out images as ``filter_cfg`` says."""
        kept = super().filter_data()
        if not self.test_mode and not any(image['instances'] for image in kept):
            raise UserError(
                f'None of the {len(self.data_list)} images of {self.ann_file} has an object to learn: of the classes '
                f'{first_of(self.metainfo["classes"])}, of 1x1 pixels or more, in an image that filter_cfg='
                f'{self.filter_cfg} keeps. Expected bbox in pixels. Add objects, or choose other --classes.'
            )
        return kept


@DATASETS.register_module()
class SkippingCocoDataset(SkipsUnreadable, CheckedCocoDataset):
    """``CheckedCocoDataset`` that skips images that are missing or unreadable.

    **Missing images.** Images that the annotation file lists but the disk lacks are left out. One warning counts them,
    and ``missing_images_<annotation file>.txt`` beside the log lists them. In test mode, the evaluator counts their
    objects as missed, because it uses the annotation file.

    **Unreadable images.** In training, another image replaces an unreadable one, as in ``UnlabelledFolder``, and
    ``UnreadableImagesHook`` logs the number. In test mode, an unreadable image is an error.

    Crowds and images without objects are handled as in mmdet.

    Args:
        show: Number of missing images to name in the warning, >= 1.
        **kwargs: Arguments of mmdet's ``CocoDataset``.

    Attributes:
        missing: Paths of the missing images.

    Raises:
        UserError: All images are missing, or as ``CheckedCocoDataset``.
    """

    def __init__(self, *args, show: int = 5, **kwargs):
        self.show, self.missing = show, []
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list:
        """List the images that exist."""
        listed = super().load_data_list()
        present = _Present()
        there = [image for image in listed if present(image['img_path'])]
        if len(there) < len(listed):
            kept = {image['img_path'] for image in there}
            self.missing = [image['img_path'] for image in listed if image['img_path'] not in kept]
            if not there:
                raise UserError(
                    f'None of the {len(listed)} images of {self.ann_file} is there, first: {self.missing[0]}. Put them '
                    'there, or say where the data are with --data-root DIR, or set data_prefix of the data set.'
                )
            self._report(len(listed))
        return there

    def image_folder(self) -> str:
        """Return the folder of the images, for messages."""
        return str(self.data_prefix.get('img'))

    def _report(self, total: int) -> None:
        if not dist.is_main_process():
            return
        consequence = 'their objects count as missed' if self.test_mode else 'training goes on without them'
        message = (
            f'{len(self.missing)} of {total} images of {self.ann_file} are missing, and {consequence}: '
            f'{first_of(self.missing, self.show)}.'
        )
        for handler in MMLogger.get_current_instance().handlers:
            if isinstance(handler, logging.FileHandler):
                name = osp.splitext(osp.basename(str(self.ann_file)))[0]
                file = osp.join(osp.dirname(handler.baseFilename), f'missing_images_{name}.txt')
                with open(file, 'w', encoding='utf-8', errors='surrogateescape') as stream:
                    stream.writelines(f'{path}\n' for path in self.missing)
                message += f' All: {file}'
                break
        print_log(message, 'current', logging.WARNING)


class _Present:
    """A function that tells whether a file exists.

    It lists each folder once, because a request for each file takes minutes on a network disk.
    """

    def __init__(self):
        self.folders = {}

    def __call__(self, path: str) -> bool:
        if '://' in path:
            return True
        folder, name = osp.split(path)
        if folder not in self.folders:
            self.folders[folder] = set(os.listdir(folder)) if osp.isdir(folder) else set()
        return name in self.folders[folder]
