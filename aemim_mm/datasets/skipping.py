"""Replace unreadable images during training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from mmengine.dataset import BaseDataset

from ..errors import UserError
from .loading import UnreadableImageError, whole


class SkipsUnreadable(BaseDataset):
    """Mixin for mmengine's ``BaseDataset`` that replaces an unreadable training image by another one.

    The replacement is drawn at random; see :class:`UnlabelledFolder`. A plain ``LoadImageFromFile`` in the pipeline is
    replaced by ``LoadWholeImage``.

    Attributes:
        bad: Which images are known to be unreadable, ``(len(self),)``, uint8, in shared memory.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.pipeline.transforms[:] = map(whole, self.pipeline.transforms)

    def full_init(self) -> None:
        """Load the list of images; mark none as unreadable."""
        if not self._fully_initialized:
            super().full_init()
            self._forget_bad()

    def get_subset_(self, indices: Sequence | int) -> None:
        """Keep a part of the images; mark none as unreadable."""
        super().get_subset_(indices)
        self._forget_bad()

    def get_subset(self, indices: Sequence | int) -> SkipsUnreadable:
        """Return a copy with a part of the images, none of them marked as unreadable."""
        subset = cast(SkipsUnreadable, super().get_subset(indices))
        subset._forget_bad()
        return subset

    def __getitem__(self, idx: int) -> dict:
        """Load an image, or in training a replacement if it is unreadable.

        Raises:
            UserError: No readable image was found in ``max_refetch + 1`` draws.
        """
        if not self._fully_initialized or self.test_mode:
            return super().__getitem__(idx)
        last = 'Expected complete image files; replace or remove the others.'
        for _ in range(self.max_refetch + 1):
            if not self.bad[idx]:
                try:
                    data = self.prepare_data(idx)
                    # The pipeline returns None if an augmentation left no object.
                    if data is not None:
                        return data
                except UnreadableImageError as error:
                    self.bad[idx] = 1
                    last = str(error)
            # Draw also for an image that is known to be unreadable, so that the random numbers do not depend on it.
            idx = self._rand_another()
        raise UserError(
            f'No readable image in {self.max_refetch + 1} draws: {int(self.bad.sum())} of the {len(self)} images in '
            f'{self.image_folder()} are known to be unreadable or truncated. {last} Or take another folder: '
            '--data-root DIR.'
        )

    def unreadable(self) -> list:
        """Return the paths of the images known to be unreadable, in the order of the data set."""
        return [self.get_data_info(i)['img_path'] for i in self.bad.nonzero().flatten().tolist()]

    def image_folder(self) -> str:
        """Return the folder of the images, for messages."""
        return self.img_prefix.rstrip('/')

    def _copy_without_annotation(self, memo: dict | None = None) -> SkipsUnreadable:
        # mmengine 0.10.7 uses one memo for all calls; its ids outlive their objects, so that a copy may contain
        # parts of another data set.
        return cast(SkipsUnreadable, super()._copy_without_annotation({} if memo is None else memo))

    def _forget_bad(self) -> None:
        self.bad = torch.zeros(len(self), dtype=torch.uint8).share_memory_()


def inner_datasets(dataset: object) -> Iterator[object]:
    """Yield a built data set, or the data sets inside a wrapper such as ``ConcatDataset``."""
    inner = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inner is None:
        yield dataset
        return
    for one in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from inner_datasets(one)
