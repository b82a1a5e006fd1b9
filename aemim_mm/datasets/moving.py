"""Move a batch to the device in few copies, because each copy costs the GPU time without work."""

from collections.abc import Sequence
from copy import copy
from typing import Any, cast

import torch
from mmengine.structures import BaseDataElement
from mmengine.utils import is_seq_of
from mmpretrain.models import SelfSupDataPreprocessor, TwoNormDataPreprocessor
from mmpretrain.registry import MODELS


@MODELS.register_module()
class BatchDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor``, with one copy to the device for each field of the data samples.

    mmpretrain copies each field of each sample by itself.

    Args:
        sample_fields: The fields that the loss reads, such as ``('mask',)``; ``()`` if it reads none. Other fields stay
            where they are. Default: the ``sample_fields`` of the algorithm on ``AdversarialMIM``, else all fields.
        join_views: Put the views of mmpretrain's ``MultiView`` into one batch, all first views first. This is repeated
            augmentation: an image is decoded once, and trained on several times in a step. The algorithm draws masks
            and attacks for each view. Masks of the pipeline (SimMIM) are equal for the views of an image.
        **kwargs: Arguments of ``SelfSupDataPreprocessor``: ``mean``, ``std``, ``to_rgb``, ...

    Source: repeated augmentation: Hoffer et al., arXiv 1901.09335.
    """

    def __init__(self, sample_fields: Sequence[str] | None = None, join_views: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.sample_fields, self.join_views = sample_fields, join_views

    def forward(self, data: dict, training: bool = False) -> dict:
        """Copy a batch to the device and normalise its images."""
        batch = cast(dict, super().forward(data, training))
        views, samples = batch['inputs'], batch['data_samples']
        if self.join_views and isinstance(views, list):
            batch = dict(inputs=torch.cat(views), data_samples=samples and samples * len(views))
        return batch

    def cast_data(self, data: Any) -> Any:
        """Copy images and data samples to the device."""
        if is_seq_of(data, BaseDataElement):
            return moved(data, self.sample_fields, self.device, bool(self._non_blocking))
        return super().cast_data(data)


@MODELS.register_module()
class BatchTwoNormDataPreprocessor(BatchDataPreprocessor, TwoNormDataPreprocessor):
    """A ``BatchDataPreprocessor`` for two views of a crop, normalised with two means: BEiT, CAE, iTPN on CLIP.

    Args:
        **kwargs: Arguments of ``BatchDataPreprocessor``, and ``second_mean`` and ``second_std``.
    """


def moved(samples: Sequence, fields: Sequence[str] | None, device: torch.device, non_blocking: bool = False) -> list:
    """Return copies of data samples with fields on the device.

    Args:
        samples: Data samples, one for each image.
        fields: Names of the fields to move. None: all.
        device: Where to.
        non_blocking: As in ``torch.Tensor.to``.
    """
    target: dict = dict(device=device, non_blocking=non_blocking)
    held = [sample.keys() for sample in samples]
    names = dict.fromkeys(name for keys in held for name in keys) if fields is None else fields
    samples = [copy(sample) for sample in samples] if names else list(samples)
    for name in names:
        owners = [sample for sample, keys in zip(samples, held) if name in keys]
        values = [sample.get(name) for sample in owners]
        if len({_kind(value) for value in values}) == 1 and isinstance(values[0], torch.Tensor):
            values = torch.stack(values).to(**target).unbind()
        else:
            values = [value.to(**target) if hasattr(value, 'to') else value for value in values]
        for sample, value in zip(owners, values):
            setattr(sample, name, value)
    return samples


def _kind(value: Any) -> tuple:
    """What tensors must have in common to be stacked without a change."""
    return (value.shape, value.dtype, value.device) if isinstance(value, torch.Tensor) else (type(value),)
