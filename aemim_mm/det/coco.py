"""COCO's format, where some images may be missing or broken."""

import logging
import os
import os.path as osp

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine import dist
from mmengine.logging import MMLogger, print_log

from ..datasets.skipping import SkipsUnreadable
from ..errors import UserError


@DATASETS.register_module()
class SkippingCocoDataset(SkipsUnreadable, CocoDataset):
    """mmdet's ``CocoDataset`` that goes on without the images that are missing or broken.

    **Missing.** Images that the annotation file lists but the disk lacks are left out, counted in one warning, and
    listed in ``missing_images_<annotation file>.txt`` beside the log. In test mode they cannot be predicted, and the
    evaluator counts their objects as missed, since it goes by the annotation file.

    **Broken.** In training, as in ``UnlabelledFolder``: another image stands in, and ``UnreadableImagesHook`` logs the
    count. In test mode a broken image is an error.

    Crowds, and images without objects, are treated as mmdet does.

    Args:
        show: How many missing images to name in the warning.
        **kwargs: Of ``CocoDataset``.

    Attributes:
        missing: Paths of the missing images.

    Raises:
        UserError: All images are missing.
    """

    def __init__(self, *args, show=5, **kwargs):
        self.show, self.missing = show, []
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list:
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
        return str(self.data_prefix.get('img'))

    def _report(self, total: int) -> None:
        if not dist.is_main_process():
            return
        consequence = 'their objects count as missed' if self.test_mode else 'training goes on without them'
        more = f' and {len(self.missing) - self.show} more' if len(self.missing) > self.show else ''
        message = (
            f'{len(self.missing)} of {total} images of {self.ann_file} are missing, and {consequence}: '
            f'{", ".join(self.missing[: self.show])}{more}.'
        )
        for handler in MMLogger.get_current_instance().handlers:
            if isinstance(handler, logging.FileHandler):
                name = osp.splitext(osp.basename(self.ann_file))[0]
                file = osp.join(osp.dirname(handler.baseFilename), f'missing_images_{name}.txt')
                with open(file, 'w', encoding='utf-8', errors='surrogateescape') as stream:
                    stream.writelines(f'{path}\n' for path in self.missing)
                message += f' All: {file}'
                break
        print_log(message, 'current', logging.WARNING)


class _Present:
    """Whether a file exists, by one listing of each folder: asking for each file takes minutes on a network disk."""

    def __init__(self):
        self.folders = {}

    def __call__(self, path: str) -> bool:
        if '://' in path:
            return True
        folder, name = osp.split(path)
        if folder not in self.folders:
            self.folders[folder] = set(os.listdir(folder)) if osp.isdir(folder) else set()
        return name in self.folders[folder]
