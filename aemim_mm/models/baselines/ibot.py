"""iBOT: masked image modeling by self-distillation. A teacher that sees the whole image gives the targets."""

from collections.abc import Sequence
from math import cos, pi
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine import dist
from mmpretrain.registry import MODELS
from torch import nn

from ...errors import UserError
from ..patches import patch_grid
from ..schedule import Schedule, progress
from ..simmim_vit import SimMIMViT
from .ibot_head import IBOTHead
from .ibot_teacher import IBOTTeacher, Targets
from .teacher import TaughtAlgorithm


@MODELS.register_module()
class IBOT(TaughtAlgorithm):
    """iBOT. A student sees two global views with hidden patches, and small local crops. A teacher sees the whole views.

    The class token of a view of the student predicts the teacher's class token of each *other* global view. A hidden
    patch predicts the teacher's token of the same patch. The teacher is a moving average of the student.

    Each call of ``loss`` in training mode moves the centres. The teacher moves once for each step of the optimizer.

    Args:
        backbone: A ViT that hides patches and returns all tokens: ``SimMIMViT`` with ``out_type='raw'``.
        head: An ``IBOTHead``, for class tokens and patches.
        student_temperature: Temperature of the student's softmax, > 0.
        teacher_temperature: Temperature of the teacher's softmax, > 0: a number, or points ``[(progress, value), ...]``
            with progress from 0 to 1 and straight lines between them. Default: for 30 of 400 epochs from 0.04 to 0.07.
        center_momentum: Share of a centre that stays at each step, in [0, 1].
        momentum: Share of the teacher that stays at the first step, in [0, 1]; over training, it rises to 1 along a
            cosine.
        cls_weight, patch_weight: Weights of the two losses, >= 0.
        **kwargs: Arguments of ``BaseSelfSupervisor``.

    Attributes:
        centers: Moving averages of the teacher's scores of class tokens and of patches, (2, K).

    Raises:
        UserError: A value is out of its range.

    Source: iBOT, arXiv 2111.07832, section 3; what it leaves open, from the release of its authors.
    """

    backbone: SimMIMViT
    head: IBOTHead
    teacher: IBOTTeacher
    centers: torch.Tensor

    def __init__(
        self,
        *args,
        student_temperature: float = 0.1,
        teacher_temperature: float | Sequence[tuple[float, float]] = ((0, 0.04), (0.075, 0.07)),
        center_momentum: float = 0.9,
        momentum: float = 0.996,
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.temperature_schedule = Schedule('teacher_temperature', teacher_temperature)
        if student_temperature <= 0 or min(value for _, value in self.temperature_schedule.points) <= 0:
            raise UserError(
                f'Temperatures are > 0, but got student_temperature={student_temperature!r} and '
                f'teacher_temperature={teacher_temperature!r}.'
            )
        if not (0 <= center_momentum <= 1 and 0 <= momentum <= 1):
            raise UserError(
                f'center_momentum and momentum are in [0, 1], but got {center_momentum!r} and {momentum!r}.'
            )
        self.student_temperature = student_temperature
        self.center_momentum, self.base_momentum = center_momentum, momentum
        self.cls_weight, self.patch_weight = cls_weight, patch_weight
        self.add_teacher(IBOTTeacher(backbone=self.backbone, head=self.head))
        self.register_buffer('centers', torch.zeros(2, self.head.last_layer.out_features))

    @property
    def momentum(self) -> float:
        """The share of the teacher that stays at this moment of training."""
        return 1 - (1 - self.base_momentum) * (1 + cos(pi * progress())) / 2

    @property
    def teacher_temperature(self) -> float:
        """The temperature of the teacher at this moment of training."""
        return self.temperature_schedule.now()

    def loss(self, inputs: Sequence[torch.Tensor], data_samples: list | None, **kwargs) -> dict:
        """Compute both losses of a batch.

        Args:
            inputs: Normalised views: two global ones (B, 3, H, W), or both in one batch (2B, 3, H, W); then any number
                of local ones (B, 3, h, w).
            data_samples: One for each image, with ``mask`` (2, rows, columns), 1 = hidden from the student.

        Returns:
            ``loss_cls`` and ``loss_patch``, both weighted.

        Raises:
            UserError: The views or the masks have other shapes.
        """
        images, *crops = self.joined_views(inputs, data_samples)
        masks = self.joined_masks(images, data_samples)
        if self.training:
            self.momentum_update()
        targets = self.teacher(images, masks.flatten(1))
        tokens = self.backbone(images, masks)[0]
        views = [*self.head(tokens[:, 0]).chunk(2), *self.local_scores(crops)]
        losses = dict(
            loss_cls=self.cls_weight * self.cls_loss(views, targets),
            loss_patch=self.patch_weight * self.patch_loss(self.head(tokens[:, 1:][masks.flatten(1)]), targets, masks),
        )
        if self.training:
            self.update_centers(targets)
        return losses

    def joined_views(self, inputs: Any, data_samples: list | None) -> Sequence[torch.Tensor]:
        """Join the two global views, unless they are in one batch already: (2B, 3, H, W), then the local views."""
        views = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        if data_samples and len(views[0]) == 2 * len(data_samples):
            return views
        if len(views) < 2 or views[0].shape != views[1].shape:
            raise UserError(
                f'iBOT needs two global views of one size, but got {_shapes(views)}. Let the pipeline make them with '
                'MultiView, global views first.'
            )
        return [torch.cat([*views[:2]]), *views[2:]]

    def joined_masks(self, images: torch.Tensor, data_samples: list | None) -> torch.Tensor:
        """Join the masks of the global views ``images``: (2B, rows, columns), true = hidden."""
        masks = [sample.get('mask') for sample in data_samples or ()]
        grid = patch_grid(images.shape[-2:], cast(nn.Conv2d, self.backbone.patch_embed.projection).kernel_size)
        if not masks or any(mask is None or mask.shape != (2, *grid) for mask in masks):
            raise UserError(
                f'iBOT needs masks {(2, *grid)} for its global views, but got {_shapes(masks)}. Put IBOTMaskGenerator '
                'into the pipeline, before PackInputs, with the size of the global views.'
            )
        return torch.stack(masks).transpose(0, 1).flatten(0, 1).bool()

    def local_scores(self, crops: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the student's scores of the class tokens of local crops, (B, K) each; nothing is hidden."""
        if not crops:
            return []
        if len({crop.shape for crop in crops}) > 1:
            raise UserError(f'Local crops have one size, but got {_shapes(crops)}.')
        return [*self.head(self.backbone(torch.cat([*crops]))[0][:, 0]).chunk(len(crops))]

    def cls_loss(self, views: Sequence[torch.Tensor], targets: Targets) -> torch.Tensor:
        """Compute the mean cross-entropy over all pairs of a global view of the teacher and another of the student.

        Args:
            views: Scores of the student, (B, K) each, the global views first.
            targets: Of the global views.
        """
        wanted = self._distribution(targets.cls, self.centers[0]).chunk(2)
        terms = [
            F.cross_entropy(scores / self.student_temperature, target)
            for number, target in enumerate(wanted)
            for other, scores in enumerate(views)
            if other != number
        ]
        return torch.stack(terms).mean()

    def patch_loss(self, scores: torch.Tensor, targets: Targets, masks: torch.Tensor) -> torch.Tensor:
        """Compute the mean over the images of the mean cross-entropy over their hidden patches; 0 where none is hidden.

        Args:
            scores: Of the student's hidden patches, (M, K).
            targets: Of the global views.
            masks: (2B, rows, columns), true = hidden.
        """
        wanted = self._distribution(targets.patches, self.centers[1])
        entropies = F.cross_entropy(scores / self.student_temperature, wanted, reduction='none')
        masks = masks.flatten(1)
        shares = masks / masks.sum(dim=1, keepdim=True).clamp(min=1) / len(masks)
        return (entropies * shares[masks]).sum()

    def _distribution(self, scores, center):
        return ((scores - center) / self.teacher_temperature).softmax(dim=-1)

    @torch.no_grad()
    def update_centers(self, targets: Targets) -> None:
        """Move the centres towards the means of the teacher's scores over the batch of all processes."""
        means = torch.stack([targets.cls.mean(dim=0), targets.patch_mean])
        dist.all_reduce(means, op='mean')
        self.centers.lerp_(means, 1 - self.center_momentum)


def _shapes(tensors) -> str:
    found = [str(tuple(getattr(tensor, 'shape', ()))) for tensor in tensors]
    return ', '.join(dict.fromkeys(found)) or 'none'
