"""A folder of images without labels, in which some files may be unreadable."""

import logging
import os
import os.path as osp
from collections import Counter
from collections.abc import Sequence

from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from ..errors import UserError
from .skipping import SkipsUnreadable

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class UnlabelledFolder(SkipsUnreadable, CustomDataset):
    """All images in a folder and its subfolders, in sorted order, without labels.

    Hidden files, hidden folders and files of other kinds are ignored. Links to folders are followed, each folder once.

    **Unreadable images.** A file that cannot be decoded completely is marked in ``bad``. In the rest of the run, an
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
        if not (data_root or data_prefix):
            raise UserError('UnlabelledFolder got no folder. Expected: DIR/any/depth/*.jpg, set by --data-root DIR.')
        super().__init__(
            data_root=osp.expanduser(data_root),
            data_prefix=data_prefix,
            pipeline=pipeline,
            with_label=False,
            extensions=extensions,
            **kwargs,
        )

    def _find_samples(self):
        """Return the paths of all images, relative to the folder and sorted."""
        root = self.img_prefix
        if not isinstance(get_file_backend(root, enable_singleton=True), LocalBackend):
            return super()._find_samples()
        expected = f'Expected: images in DIR/any/depth/*{self._kinds()[0]}, where DIR is set by --data-root DIR.'
        root = osp.abspath(root)
        if not osp.exists(root):
            raise UserError(f'There is no image folder {root}. {expected}')
        if not osp.isdir(root):
            raise UserError(f'{root} is a file, not a folder. {expected}')
        files, closed = visible_files(root)
        if closed:
            print_log(
                f'Skipped {len(closed)} folders that cannot be opened, first: {closed[0]}',
                'current',
                logging.WARNING,
            )
        images = sorted(file for file in files if self.is_valid_file(file))
        if not images:
            raise UserError(
                f'There is no image in {root}. Looked, at any depth, for '
                f'{", ".join(self._kinds())} (upper case too) and saw {_describe(files)}. {expected}'
            )
        return images

    def _kinds(self):
        """Sort the extensions: the usual ones first, in the order of ``EXTENSIONS``."""
        return sorted(self.extensions, key=lambda kind: (EXTENSIONS + (kind,)).index(kind))


def visible_files(root: str) -> tuple[list, list]:
    """List the files in a folder and its subfolders, without hidden files and folders.

    Args:
        root: A local folder.

    Returns:
        The paths of the files relative to ``root``, and the folders that cannot be opened.
    """
    files, closed, seen = [], [], set()
    walk = os.walk(root, followlinks=True, onerror=lambda error: closed.append(error.filename))
    for folder, subfolders, names in walk:
        # A link may point to a folder above it.
        here = osp.realpath(folder)
        if here in seen:
            subfolders.clear()
            continue
        seen.add(here)
        # Sort, so that of two links to a folder always the same one is followed.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
        files += [osp.relpath(osp.join(folder, name), root) for name in names if not name.startswith('.')]
    return files, closed


def _describe(files):
    kinds = Counter(osp.splitext(file)[1].lower() or 'without extension' for file in files)
    common = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))
    return f'{len(files)} other files' + (f' (most: {common})' if files else '')
