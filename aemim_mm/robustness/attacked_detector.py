"""A detector under attack, as a model that mmengine's TestLoop runs, on one process or several."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import nn

from ..attacks import PGD, PixelSpace
from ..errors import UserError, unknown_name
from ..replay import replaced
from .pixels import left_as_it_was, to_pixels

DETECTION = 'detection'  # The type of the attack in a condition.
LOSSES = ('classification', 'localisation', 'both')
# What the names of losses of classification contain: loss_rpn_cls, s0.loss_cls, loss_conf, loss_obj, ...
CLASSIFICATION = ('cls', 'class', 'conf', 'obj', 'heatmap')
# Where mmdet keeps the modules whose ``loss`` needs ``training``, such as FCOSHead. Their layers are elsewhere.
WITH_LOSSES = ('mmdet.models.detectors', 'mmdet.models.dense_heads', 'mmdet.models.roi_heads')


@dataclass(frozen=True)
class DetectionAttack(PGD):
    """PGD on the training losses of a detector.

    Args:
        eps, norm, steps, step_size, start, momentum: As in :class:`aemim_mm.attacks.PGD`.
        losses: ``classification``; ``localisation``, which are all others: boxes, masks, centerness; or ``both``.

    Raises:
        UserError: A value out of its range, or an unknown name.

    Source: Zhang and Wang, arXiv 1907.10310: attacks from the losses of classification and of localisation.
    """

    losses: str = 'both'

    def __post_init__(self):
        super().__post_init__()
        if self.losses not in LOSSES:
            raise unknown_name('kind of losses', self.losses, LOSSES)

    def chosen(self, losses: dict) -> dict:
        """Select the losses that the attack maximises.

        Args:
            losses: What ``loss`` of a detector returns: name to a tensor, or to one tensor for each level.

        Raises:
            UserError: None of the losses is of this kind.
        """
        found = {name: value for name, value in losses.items() if 'loss' in name}
        if self.losses == 'both':
            return found
        wanted = self.losses == 'classification'
        chosen = {name: value for name, value in found.items() if _classifies(name) == wanted}
        if not chosen:
            raise UserError(f"No loss of {', '.join(found)} is of {self.losses}. Attack them all: losses='both'.")
        return chosen


def _classifies(name: str) -> bool:
    return any(part in name for part in CLASSIFICATION)


class AttackedDetector(BaseModel):
    """A detector of mmdet that is tested on adversarial examples made against its training losses.

    Each image is attacked by itself; the other images of a batch decide only its padding, which is not perturbed. The
    budget is in pixels of the image as the detector sees it, after ``Resize``. Each step draws new anchors and
    proposals, from a fixed seed, so the attack follows the expected loss. The proposals to draw from are those of the
    clean image: the more proposals lie on objects, the larger is the loss of localisation, so an attack would add good
    ones. The attack runs in float32, and changes nothing in the detector.

    Args:
        detector: A detector of mmdet.
        attack: ``dict(type='detection', losses=..., eps=..., ...)``; fields of :class:`DetectionAttack`.
        quantize: Round the perturbed images to 8 bits, inside the budget.
        seed: Seed of the start and of the samples of anchors and proposals; each image begins with it.

    Raises:
        UserError: A value is out of its range, or the data preprocessor does not state its normalisation.
    """

    def __init__(self, detector: Any, attack: dict, quantize: bool = False, seed: int = 0):
        super().__init__(data_preprocessor=detector.data_preprocessor)
        PixelSpace.of(detector.data_preprocessor)
        self.detector, self.quantize, self.seed = detector, quantize, seed
        self.attack = DetectionAttack(**{name: value for name, value in attack.items() if name != 'type'})

    def test_step(self, data: Any) -> list:
        """Attack a batch of the data loader, and predict its objects."""
        data = self.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        inputs = self.perturb(inputs, samples)
        with left_as_it_was(self.detector, float32=False), torch.no_grad():
            return self.detector(inputs, samples, mode='predict')

    val_step = test_step

    def perturb(self, inputs: torch.Tensor, samples: list) -> torch.Tensor:
        """Attack one batch.

        Args:
            inputs: Normalised and padded images, (B, C, H, W).
            samples: Their data samples, with ``gt_instances`` in the coordinates of ``inputs``.

        Returns:
            Normalised images, (B, C, H, W). With ``eps=0``, and in the padding, they are ``inputs`` bit for bit.

        Raises:
            UserError: A data sample has no objects to attack, or as :func:`to_pixels`.
        """
        if not self.attack.eps:
            return inputs
        perturbed = inputs.detach().clone()
        with losses_of_training(self.detector, self.seed):
            for number, sample in enumerate(samples):
                image = ImageUnderAttack(self.detector, inputs[number : number + 1], sample, self.attack)
                torch.manual_seed(self.seed)
                x_adv = self.attack.maximize(image.objective, image.pixels)
                x_adv = self.attack.budget.ball(image.pixels).project(x_adv)
                if self.quantize:
                    x_adv = self.attack.budget.quantize(x_adv, image.pixels)
                perturbed[number : number + 1] = image.padded(x_adv)
        return perturbed

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Call the detector, without an attack."""
        return self.detector(inputs, data_samples, mode=mode)


class ImageUnderAttack:
    """One image of a batch: its pixels without padding, and the detector's losses as a function of them.

    Args:
        detector: A detector of mmdet, inside :func:`losses_of_training`.
        inputs: The image as the detector sees it, normalised and padded, (1, C, H, W).
        sample: Its data sample, which is not changed.
        attack: Which losses count.

    Attributes:
        pixels: The image without its padding, in pixels, 0-255, (1, C, h, w).
    """

    def __init__(self, detector: Any, inputs: torch.Tensor, sample: Any, attack: DetectionAttack):
        self.detector, self.attack = detector, attack
        self.space = PixelSpace.of(detector.data_preprocessor)
        self.inputs, self.sample = inputs.detach().clone(), deepcopy(sample)
        _check_objects(detector, self.sample)
        if getattr(detector.data_preprocessor, 'pad_mask', False):
            detector.data_preprocessor.pad_gt_masks([self.sample])
        self.height, self.width = unpadded_shape(sample)
        self.pixels = self.unpadded(self.inputs)
        self._proposals = []
        with torch.no_grad():
            self.objective(self.pixels)  # It keeps the proposals.

    def unpadded(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the pixels, 0-255, of a normalised image without the padding, (1, C, h, w)."""
        return to_pixels(self.space, inputs[..., : self.height, : self.width])

    def padded(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the image with other pixels, as the detector sees it; the padding stays as it is."""
        inputs = self.inputs.clone()
        inputs[..., : self.height, : self.width] = self.space.normalize(pixels)
        return inputs

    def objective(self, pixels: torch.Tensor) -> torch.Tensor:
        """Add up the chosen losses of the image with other pixels, (1, C, h, w): a scalar."""
        with proposals_of_first_call(self.detector, self._proposals):
            losses = self.detector.loss(self.padded(pixels), [self.sample])
        return self.detector.parse_losses(self.attack.chosen(losses))[0]


@contextmanager
def proposals_of_first_call(detector: Any, kept: list) -> Iterator[None]:
    """Inside, a detector of two stages gets the region proposals of the first call again.

    Args:
        detector: A detector of mmdet.
        kept: The proposals of the first call; empty before it.
    """
    head = getattr(detector, 'rpn_head', None)
    if head is None:
        yield
        return
    predict = head.predict_by_feat

    def of_first_call(*args, **kwargs):
        if not kept:
            kept.append(predict(*args, **kwargs))
        return deepcopy(kept[0])  # The second stage takes them apart.

    with replaced(head, 'predict_by_feat', of_first_call):
        yield


def unpadded_shape(sample: Any) -> tuple[int, int]:
    """Return height and width of an image without padding, in pixels of the network's input.

    ``Pad`` in a pipeline overwrites ``img_shape``, but neither ``ori_shape`` nor ``scale_factor``, which relate the
    network's input to the original image.

    Args:
        sample: A data sample of mmdet, whose padding is on the right and at the bottom.
    """
    height, width = sample.img_shape[:2]
    horizontal, vertical = sample.get('scale_factor', (1.0, 1.0))[:2]
    original = sample.get('ori_shape', (height, width))
    return min(height, round(original[0] * vertical)), min(width, round(original[1] * horizontal))


@contextmanager
def losses_of_training(detector: nn.Module, seed: int) -> Iterator[None]:
    """Inside, ``detector.loss`` computes what it computes in training, but without dropout and batch statistics.

    Detectors and heads of mmdet are in training mode, since some compute other values for their losses; their layers,
    backbone and neck are in eval mode. Nothing in the detector changes.

    Args:
        detector: A detector of mmdet.
        seed: Seed of torch's random numbers inside.
    """
    with left_as_it_was(detector, seed=seed):
        for module in detector.modules():
            module.training = any(kind.__module__.startswith(WITH_LOSSES) for kind in type(module).__mro__)
        yield


def _check_objects(detector: Any, sample: Any) -> None:
    if 'gt_instances' not in sample or 'bboxes' not in sample.gt_instances:
        raise UserError(
            'An attack on a detector needs the boxes of each image, but a data sample has none. Put LoadAnnotations '
            'with with_bbox=True into the pipeline.'
        )
    if getattr(detector, 'with_mask', False) and 'masks' not in sample.gt_instances:
        raise UserError(
            f'{type(detector).__name__} learns masks, but a data sample has none. Put LoadAnnotations with '
            'with_mask=True into the pipeline.'
        )
