"""Training goes on without the images that cannot be read."""

import torch
from mmcv.transforms import LoadImageFromFile

from ..errors import UserError
from .loading import LoadWholeImage, UnreadableImageError


class SkipsUnreadable:
    """Mixin over mmengine's ``BaseDataset``: in training, another image stands in for one that cannot be decoded.

    A plain ``LoadImageFromFile`` of the pipeline is replaced by ``LoadWholeImage``. Which images were found unreadable
    is in ``bad``; see :class:`UnlabelledFolder`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        steps = self.pipeline.transforms
        for i, step in enumerate(steps):
            if type(step) is LoadImageFromFile and step.color_type == 'color':
                steps[i] = LoadWholeImage(step.to_float32, step.backend_args)

    def full_init(self):
        if not self._fully_initialized:
            super().full_init()
            self._forget_bad()

    def get_subset_(self, indices):
        super().get_subset_(indices)
        self._forget_bad()

    def get_subset(self, indices):
        subset = super().get_subset(indices)
        subset._forget_bad()
        return subset

    def __getitem__(self, idx):
        if not self._fully_initialized or self.test_mode:
            return super().__getitem__(idx)
        last = 'Expected complete image files; replace or remove the others.'
        for _ in range(self.max_refetch + 1):
            if not self.bad[idx]:
                try:
                    data = self.prepare_data(idx)
                    # None where an augmentation left no object.
                    if data is not None:
                        return data
                except UnreadableImageError as error:
                    self.bad[idx] = 1
                    last = str(error)
            # Drawn for a known bad image as for a new one: what is known must not change the random state.
            idx = self._rand_another()
        raise UserError(
            f'No readable image in {self.max_refetch + 1} draws: {int(self.bad.sum())} of the {len(self)} images in '
            f'{self.image_folder()} are known to be unreadable or truncated. {last} Or take another folder: '
            '--data-root DIR.'
        )

    def unreadable(self) -> list:
        """Paths of the images found unreadable so far, in the data set's order."""
        return [self.get_data_info(i)['img_path'] for i in self.bad.nonzero().flatten().tolist()]

    def image_folder(self) -> str:
        """Where the images are, for messages."""
        return self.img_prefix.rstrip('/')

    def _forget_bad(self):
        self.bad = torch.zeros(len(self), dtype=torch.uint8).share_memory_()
