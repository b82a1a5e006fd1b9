"""Log how many training images could not be read, and which."""

import logging
import os.path as osp
from collections.abc import Iterator
from typing import Any, cast

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...datasets.skipping import SkipsUnreadable, inner_datasets
from ...errors import first_of

FILE = 'unreadable_images.txt'


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """After each epoch and after training, log the images that any rank has skipped so far.

    The hook logs when the number has changed, and then writes all paths to ``unreadable_images.txt`` in the work
    directory. It tells each rank which files the other ranks could not read, so that these are not tried again. In a
    training by iterations, this happens once, at the end. The hook does nothing unless the training data contain an
    ``UnlabelledFolder``, ``LabelledFolder`` or ``SkippingCocoDataset``, possibly inside wrappers.

    Args:
        show: Number of paths to log, >= 1.
    """

    def __init__(self, show: int = 5):
        self.show = show
        self.count = 0

    def after_train_epoch(self, runner: Runner) -> None:
        """Share the skipped images among the ranks, and log them."""
        folders = list(skipping_datasets(cast(Any, runner.train_loop).dataloader.dataset))
        for folder in folders:
            # Reduce a copy, since workers that prefetch may mark more images at the same time.
            found = folder.bad.clone()
            dist.all_reduce(found, op='max')
            folder.bad.bitwise_or_(found)
        # A folder may occur twice, as in a concatenation. Count it once.
        paths = list(dict.fromkeys(path for folder in folders for path in folder.unreadable()))
        if len(paths) != self.count:
            self.count = len(paths)
            if dist.is_main_process():
                self._report(paths, sum(map(len, folders)), osp.join(runner.work_dir, FILE))

    after_train = after_train_epoch

    def _report(self, paths, total, file):
        # A file name may be invalid text.
        with open(file, 'w', encoding='utf-8', errors='surrogateescape') as stream:
            stream.writelines(f'{path}\n' for path in paths)
        first = first_of((path.encode('utf-8', 'backslashreplace').decode() for path in paths), self.show)
        print_log(
            f'Skipped {len(paths)} unreadable or truncated of {total} images so far, others in their places: '
            f'{first}. All: {file}',
            'current',
            logging.WARNING,
        )


def skipping_datasets(dataset: object) -> Iterator[SkipsUnreadable]:
    """Yield the data sets that skip unreadable images, also those inside wrappers."""
    return (inner for inner in inner_datasets(dataset) if isinstance(inner, SkipsUnreadable))
