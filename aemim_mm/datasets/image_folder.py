"""One's own images: a plain folder, no labels, where some files may be broken."""

import logging
import os
import os.path as osp
from collections import Counter

from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS

from ..errors import UserError
from .skipping import SkipsUnreadable

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class UnlabelledFolder(SkipsUnreadable, CustomDataset):
    """All images under a folder, at any depth, in sorted order, without labels.

    Hidden files and folders and files of other kinds are passed over; links to folders are followed, each folder once.

    **Unreadable images.** A file that cannot be decoded to its end is marked in ``bad`` and, for the rest of the run,
    replaced wherever it comes up by an image drawn at random, so that batches keep their size. Per epoch, then, every
    good image is seen once in its own place, and as many places as there are bad files show some good image once more.
    That holds from the first epoch on; known bad files are merely not tried again. Which image stands in depends on
    the random state and the files alone, not on what is known already, nor on timing: a resumed run repeats itself.
    ``UnreadableImagesHook`` logs the count and makes it common to all ranks.

    With ``test_mode=True`` nothing is replaced: an unreadable image is an error.

    Args:
        data_root: The folder.
        pipeline: Transforms. Begins with ``LoadWholeImage``; a plain ``LoadImageFromFile`` is replaced by it, because
            what that does with a truncated image depends on OpenCV's version.
        data_prefix: A folder inside ``data_root`` to stay in, such as ``'train'``.
        ann_file: A file that lists the images to use, one path below ``data_root/data_prefix`` a line, in place of all.
        extensions: What counts as an image, in lower case; upper case does too.
        max_refetch: Draws for a replacement before giving up. With 1000, a folder 98 % of which is bad still trains.
        **kwargs: Of mmpretrain's ``BaseDataset``.

    Attributes:
        bad: Which images were found unreadable, ``(len(self),)``, uint8, 0 or 1, in memory shared with the data
            loader's workers, however they are started. To leave out images known to be bad, set it to 1 there.

    Raises:
        UserError: The folder is missing, or no folder, or has no image; when loading, that none can be read.
    """

    def __init__(self, data_root='', pipeline=(), data_prefix='', extensions=EXTENSIONS, **kwargs):
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
        """Paths of all images, relative to the folder and sorted."""
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
                f'Passed over {len(closed)} folders that may not be opened, first: {closed[0]}',
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
        """The extensions, in the order that users know them."""
        return sorted(self.extensions, key=lambda kind: (EXTENSIONS + (kind,)).index(kind))


def visible_files(root):
    """List the files under a folder, at any depth, but hidden ones.

    Args:
        root: A local folder.

    Returns:
        The files' paths relative to ``root``; and the folders that may not be opened.
    """
    files, closed, seen = [], [], set()
    walk = os.walk(root, followlinks=True, onerror=lambda error: closed.append(error.filename))
    for folder, subfolders, names in walk:
        # A link may lead back to a folder above it.
        here = osp.realpath(folder)
        if here in seen:
            subfolders.clear()
            continue
        seen.add(here)
        # Sorted, so that it is always the same one of two links to a folder that counts.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith('.'))
        files += [osp.relpath(osp.join(folder, name), root) for name in names if not name.startswith('.')]
    return files, closed


def _describe(files):
    kinds = Counter(osp.splitext(file)[1].lower() or 'without extension' for file in files)
    common = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))
    return f'{len(files)} other files' + (f' (most: {common})' if files else '')
