"""A stand-in for mmcv's compiled operators, with which mmdet runs on an mmcv that lacks them.

onedl-mmcv as pip builds it and mmcv-lite have no operators: the module ``mmcv._ext`` is missing, and mmdet cannot be
imported. Mask R-CNN needs three operators, which torchvision has: NMS, and RoIAlign forward and backward. Other
operators raise an error when they are called. A compiled mmcv does not use this module.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

import torch
import torchvision
from mmengine.logging import print_log

from ..errors import UserError

NAME = 'mmcv._ext'
# Functions and classes of mmcv.ops that need only the operators of this module, or none.
USABLE = ('batched_nms', 'nms', 'soft_nms', 'roi_align', 'RoIAlign', 'point_sample', 'rel_roi_point_to_rel_img_point')


def nms(boxes, scores, iou_threshold, offset):
    """Non-maximum suppression.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: A box is dropped if its IoU with a better box exceeds this.
        offset: 0 or 1. The width of a box is x2 - x1 + offset.

    Returns:
        Indices of the boxes that are kept, (K,), by descending score.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def softnms(boxes, scores, dets, iou_threshold, sigma, min_score, method, offset):
    """Soft-NMS: lower the scores of overlapping boxes instead of dropping them.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5), changed in place: the first K rows are the boxes that are kept, with their new scores.
        iou_threshold: The IoU at which linear decay and hard suppression begin.
        sigma: Width of the Gaussian decay.
        min_score: Boxes with a new score below this are dropped.
        method: 0 hard suppression, 1 linear decay, 2 Gaussian decay.
        offset: As in :func:`nms`.

    Returns:
        Indices of the boxes that are kept, (K,), by descending new score.

    Source: Bodla et al., arXiv 1704.04503, figure 2.
    """
    areas = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    scores, left, taken = scores.clone(), torch.arange(len(boxes)), []
    while len(left):
        place = scores[left].argmax()
        best, left = left[place], torch.cat((left[:place], left[place + 1 :]))
        dets[len(taken), :4], dets[len(taken), 4] = boxes[best], scores[best]
        taken.append(best)
        low = torch.maximum(boxes[best, :2], boxes[left, :2])
        high = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        overlap = (high - low + offset).clamp(min=0).prod(1)
        iou = overlap / (areas[best] + areas[left] - overlap)
        if method == 2:
            scores[left] *= torch.exp(-(iou**2) / sigma)
        else:
            scores[left] *= torch.where(iou >= iou_threshold, 1 - iou if method == 1 else 0, 1)
        left = left[scores[left] >= min_score]
    return torch.stack(taken) if taken else left


def roi_align_forward(
    features,
    rois,
    output,
    argmax_y,
    argmax_x,
    aligned_height,
    aligned_width,
    spatial_scale,
    sampling_ratio,
    pool_mode,
    aligned,
):
    """RoIAlign with average pooling. The result goes to ``output``, (K, C, aligned_height, aligned_width).

    Args:
        features: (B, C, H, W).
        rois: (K, 5): index in the batch, x1, y1, x2, y2 in pixels of the image.
        pool_mode: 1 for average pooling; 0 (maximum) raises a UserError.
        aligned: Whether the centres of pixels have half-integer coordinates.

    Source: He et al., arXiv 1703.06870.
    """
    _check_average(pool_mode)
    output.copy_(
        torch.ops.torchvision.roi_align(
            *_float32(features, rois), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output,
    rois,
    argmax_y,
    argmax_x,
    grad_input,
    aligned_height,
    aligned_width,
    spatial_scale,
    sampling_ratio,
    pool_mode,
    aligned,
):
    """Gradient of :func:`roi_align_forward`. The result goes to ``grad_input``, (B, C, H, W)."""
    _check_average(pool_mode)
    size = (aligned_height, aligned_width, *grad_input.shape, sampling_ratio, aligned)
    grad_input.copy_(torch.ops.torchvision._roi_align_backward(*_float32(grad_output, rois), spatial_scale, *size))


def _float32(*tensors):
    # torchvision has no kernels for bfloat16.
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor for tensor in tensors)


def _check_average(pool_mode):
    if pool_mode != 1:
        raise _missing("roi_align with pool_mode='max'")


def _missing(name):
    return UserError(
        f"The operator {name} needs mmcv's compiled operators, which this mmcv lacks; aemim_mm stands in only for nms, "
        'soft_nms and roi_align (average). Install a compiled mmcv. Of OneDL, with a compiler (25 minutes on 2 cores): '
        '`pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation onedl-mmcv`. Of OpenMMLab: '
        '`pip uninstall -y mmcv-lite && pip install openmim && mim install "mmcv>=2.1,<2.2"`.'
    )


class StandIn(ModuleType):
    """A module in place of ``mmcv._ext``. Operators that it lacks can be imported, as mmcv does, but not called."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise _missing(name)

        return missing


def install_stand_in() -> bool:
    """Install the stand-in as ``mmcv._ext`` if mmcv has no such module.

    Returns:
        Whether mmcv uses the stand-in.
    """
    present = sys.modules.get(NAME)
    if present is not None or find_spec(NAME) is not None:
        return isinstance(present, StandIn)
    module = StandIn(NAME, __doc__)
    module.__spec__ = ModuleSpec(NAME, loader=None)
    for operator in (nms, softnms, roi_align_forward, roi_align_backward):
        setattr(module, operator.__name__, operator)
    sys.modules[NAME] = module
    _update_imported_modules()
    print_log(
        'mmcv has no compiled operators: aemim_mm serves nms, soft_nms and roi_align from torchvision.',
        logger='current',
    )
    return True


def _update_imported_modules() -> None:
    """Give mmcv's functions to modules that were imported without operators, as mmpretrain imports parts of mmdet."""
    import mmcv.ops

    for name, module in list(sys.modules.items()):
        if name == 'mmcv.cnn.bricks.transformer':
            module.MultiScaleDeformableAttention = mmcv.ops.MultiScaleDeformableAttention
        elif name.startswith('mmdet.'):
            # onedl-mmdetection defines functions of these names that only raise an error.
            for operator in USABLE:
                if getattr(getattr(module, operator, None), '__module__', None) == name:
                    setattr(module, operator, getattr(mmcv.ops, operator))
