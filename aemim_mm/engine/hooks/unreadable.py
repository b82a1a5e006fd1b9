"""Say how many training images could not be read, and which."""

import logging
import os.path as osp

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS

from ...datasets.skipping import SkipsUnreadable

FILE = 'unreadable_images.txt'


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """After each epoch, and after training, log the images that the training data skipped so far, on any rank.

    It logs only when the number has changed, and then writes all paths to ``unreadable_images.txt`` in the work
    directory. Each rank learns what the others found, and does not try those files again. Training by iterations has
    one epoch: its end. Without an ``UnlabelledFolder`` or ``SkippingCocoDataset`` among the training data, wrapped or
    not, this does nothing.

    Args:
        show: How many paths to log.
    """

    def __init__(self, show=5):
        self.show = show
        self.count = 0

    def after_train_epoch(self, runner):
        folders = list(skipping_datasets(runner.train_loop.dataloader.dataset))
        for folder in folders:
            # On a copy: workers that prefetch may mark more meanwhile.
            found = folder.bad.clone()
            dist.all_reduce(found, op='max')
            folder.bad.bitwise_or_(found)
        # Two places for one folder, as in a concatenation, count once.
        paths = list(dict.fromkeys(path for folder in folders for path in folder.unreadable()))
        if len(paths) != self.count:
            self.count = len(paths)
            if dist.is_main_process():
                self._report(paths, sum(map(len, folders)), osp.join(runner.work_dir, FILE))

    after_train = after_train_epoch

    def _report(self, paths, total, file):
        # A file name need not be valid text.
        with open(file, 'w', encoding='utf-8', errors='surrogateescape') as stream:
            stream.writelines(f'{path}\n' for path in paths)
        first = ', '.join(path.encode('utf-8', 'backslashreplace').decode() for path in paths[: self.show])
        more = f' and {len(paths) - self.show} more' if len(paths) > self.show else ''
        print_log(
            f'Skipped {len(paths)} unreadable or truncated of {total} images so far, others in their places: '
            f'{first}{more}. All: {file}',
            'current',
            logging.WARNING,
        )


def skipping_datasets(dataset):
    """The data sets inside this one that skip unreadable images, through any wrappers."""
    if isinstance(dataset, SkipsUnreadable):
        yield dataset
        return
    for inner in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if inner is not None:
            yield from skipping_datasets(inner)
