"""Top-1 accuracy image by image: over all classes, over a subset of classes, or with several correct labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ..errors import UserError


@METRICS.register_module()
class CorrectMetric(BaseMetric):
    """Top-1 accuracy. An image is correct if the class of the highest score is among its labels, ``gt_label``.

    Args:
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Attributes:
        correct: Whether each image is correct, ``(images,)``, bool, in the order of the data set. It is set by
            ``evaluate``, on the main process only. The data loader must not shuffle.

    Returns:
        From ``evaluate``: ``accuracy/top1`` in percent, and ``accuracy/count``, the number of images.

    Raises:
        UserError: The numbers of scores and of the data set's classes differ, an image has no label, or a score is
            missing or NaN.
    """

    default_prefix = 'accuracy'

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.correct = None

    def candidates(self) -> list[int] | None:
        """Return the labels among which the prediction is chosen; None for all."""
        return None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        candidates = self.candidates()
        for sample in data_samples:
            labels = sample['gt_label'].tolist() if 'gt_label' in sample else []
            if not labels:
                raise UserError(f'{type(self).__name__} needs a label for every image; {_where(sample)} has none.')
            self.results.append(self._predicted(sample, candidates) in labels)

    def _predicted(self, sample, candidates) -> int:
        if 'pred_score' not in sample:
            raise UserError(f'{type(self).__name__} needs a classifier that gives scores; {_where(sample)} has none.')
        scores = sample['pred_score']
        if scores.isnan().any():
            raise UserError(
                f'The classifier gives NaN for {_where(sample)}. Expected: finite scores. Check its weights, or '
                'evaluate it in float32.'
            )
        classes = (self.dataset_meta or {}).get('classes')
        if classes is not None and len(scores) != len(classes):
            raise UserError(
                f'The classifier tells {len(scores)} classes apart, but the data set has {len(classes)}. Take a '
                'classifier of these classes, or another data set.'
            )
        if candidates is None:
            return int(scores.argmax())
        if max(candidates) >= len(scores):
            raise UserError(f'The classifier has {len(scores)} classes, but class {max(candidates)} was asked for.')
        return candidates[int(scores[candidates].argmax())]

    def compute_metrics(self, results: list) -> dict:
        self.correct = np.array(results, dtype=bool)
        return dict(top1=float(self.correct.mean() * 100), count=len(results))


@METRICS.register_module()
class SubsetAccuracy(CorrectMetric):
    """Top-1 accuracy over a subset of the classes: the prediction is the highest score in the subset.

    It is for ImageNet-A, ImageNet-R and ObjectNet. Labels count all classes (0-999 for ImageNet).

    Args:
        classes: Labels of the subset. Default: ``class_subset`` of the data set's metainfo.
        **kwargs: Arguments of mmengine's ``BaseMetric``.

    Raises:
        UserError: No subset is known, or the label of an image is not in it.

    Source: Hendrycks et al., arXiv 1907.07174 and arXiv 2006.16241.
    """

    def __init__(self, classes: Sequence[int] | None = None, **kwargs):
        super().__init__(**kwargs)
        if classes is not None and (not classes or min(classes) < 0 or len(set(classes)) != len(classes)):
            raise UserError(f'classes are different labels, each at least 0, but got {list(classes)}.')
        self.classes = classes

    def candidates(self) -> list[int]:
        found = self.classes if self.classes is not None else (self.dataset_meta or {}).get('class_subset')
        if found is None:
            raise UserError(
                'SubsetAccuracy knows no subset of classes: the data set has no class_subset in its metainfo. Set '
                'classes=[...] to the labels of the subset, or use CorrectMetric for all classes.'
            )
        return list(found)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        allowed = set(self.candidates())
        for sample in data_samples:
            if 'gt_label' in sample and not allowed.intersection(sample['gt_label'].tolist()):
                raise UserError(
                    f'{_where(sample)} has the labels {sample["gt_label"].tolist()}, none of which is among the '
                    f'{len(allowed)} classes of SubsetAccuracy. Labels must count all classes, not only the subset.'
                )
        super().process(data_batch, data_samples)


@METRICS.register_module()
class RealAccuracy(CorrectMetric):
    """ReaL accuracy: the share of images, in percent, whose predicted class is in their set of labels.

    ``ImageNetReaL`` leaves out images with an empty set.

    Source: Beyer et al., arXiv 2006.07159, section 3.
    """

    default_prefix = 'real'


def _where(sample) -> str:
    return str(sample.get('img_path') or f'image {sample.get("sample_idx", "of the batch")}')
