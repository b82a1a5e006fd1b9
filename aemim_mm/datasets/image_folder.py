"""A folder of images without labels, in which some files may be unreadable."""

import os.path as osp
from collections.abc import Sequence

from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from ..errors import UserError
from .files import EXTENSIONS, describe, find_images, is_local, require_image_folder, sorted_kinds
from .skipping import SkipsUnreadable


@DATASETS.register_module()
class UnlabelledFolder(SkipsUnreadable, CustomDataset):
    """All images in a folder and its subfolders, in sorted order, without labels.

    Hidden files, hidden folders and files of other kinds are ignored. Links to folders are followed, each folder once.

    **Unreadable images.** A file that cannot be decoded completely, that is no regular file (a named pipe, a device) or
    that is larger than ``max_pixels`` of ``LoadWholeImage`` is marked in ``bad``. In the rest of the run, an
    image drawn at random replaces it, so that batches keep their size. So in each epoch, the first included, every
    readable image occurs once at its own index, and each index of an unreadable file yields one more readable image.
    The replacement depends only on the random state and the files. It does not depend on timing or on the files marked
    so far, so a resumed run uses the same images. ``UnreadableImagesHook`` logs the unreadable files and shares them
    among the ranks.

    With ``test_mode=True`` nothing is replaced, and an unreadable image is an error.

    Args:
        data_root: The folder.
        pipeline: Transforms, beginning with ``LoadWholeImage``. A plain ``LoadImageFromFile`` is replaced by it, since
            its result for a truncated image depends on the version of OpenCV.
        data_prefix: A folder inside ``data_root``, such as ``'train'``, to use instead.
        ann_file: A file that lists the images to use, one path relative to ``data_root/data_prefix`` a line. Default:
            use all images.
        extensions: File name extensions of images, in lower case. Upper case is accepted, too.
        max_refetch: Maximum number of draws for a replacement. 1000 draws suffice for a folder with 98 % unreadable
            files.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Attributes:
        bad: Which images are known to be unreadable, ``(len(self),)``, uint8, 0 or 1. All workers of the data loader
            share this memory. Set an element to 1 to leave out an image.

    Raises:
        UserError: The folder does not exist, is no folder or has no image; or, while loading, no image is readable.
    """

    def __init__(
        self,
        data_root: str = '',
        pipeline: Sequence = (),
        data_prefix: str = '',
        extensions: tuple = EXTENSIONS,
        **kwargs,
    ):
        if not (data_root or data_prefix or kwargs.get('ann_file')):
            raise UserError('UnlabelledFolder got no folder. Expected: DIR/any/depth/*.jpg, set by --data-root DIR.')
        super().__init__(
            data_root=osp.expanduser(data_root),
            data_prefix=data_prefix,
            pipeline=pipeline,
            with_label=False,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> list:
        """List the images."""
        path = str(self.ann_file)
        if path and is_local(path) and not osp.isfile(path):
            raise UserError(f'There is no list {osp.abspath(path)}. Expected: a path of an image in each line.')
        return super().load_data_list()

    def _find_samples(self):
        """Return the paths of all images, relative to the folder and sorted."""
        if not is_local(self.img_prefix):
            return super()._find_samples()
        kinds = sorted_kinds(self.extensions)
        expected = f'Expected: images in DIR/any/depth/*{kinds[0]}, where DIR is set by --data-root DIR.'
        root = osp.abspath(self.img_prefix)
        require_image_folder(root, expected)
        images, other = find_images(root, self.is_valid_file)
        if not images:
            raise UserError(
                f'There is no image in {root}. Looked, at any depth, for {", ".join(kinds)} (upper case too) and saw '
                f'{describe(other)}. {expected}'
            )
        if other:
            print_log(f'{root} has {len(images)} images. Not read: {describe(other)}.', 'current')
        return images
