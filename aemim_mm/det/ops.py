"""A stand-in for mmcv's compiled operators, so that mmdet runs on an mmcv without them.

pip builds onedl-mmcv in an environment without torch, and mmcv-lite never has operators: in both, ``mmcv._ext`` is
missing, and mmdet cannot be imported. Mask R-CNN needs three operators, which torchvision has: NMS, and RoIAlign
forward and backward. Any other raises an error at its first call. Where mmcv is compiled, nothing here is used.
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
# What mmcv.ops builds from the operators that are here, or from plain torch.
MENDED = ('batched_nms', 'nms', 'soft_nms', 'roi_align', 'RoIAlign', 'point_sample', 'rel_roi_point_to_rel_img_point')


def nms(boxes, scores, iou_threshold, offset):
    """Indices of the boxes that stay, (K,), best first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2. ``offset`` 1 counts pixels, so that a box is x2 - x1 + 1 wide.
        scores: (N,).
        iou_threshold: Boxes that overlap a better one by more than this are dropped.
        offset: 0 or 1.
    """
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def softnms(boxes, scores, dets, iou_threshold, sigma, min_score, method, offset):
    """Soft-NMS: lower the scores of overlapping boxes, rather than drop them.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        dets: (N, 5), written in place: the first K rows are the boxes that stay, with their new scores.
        iou_threshold: Where linear decay and plain suppression begin.
        sigma: Width of the Gaussian decay.
        min_score: Boxes whose score falls below are dropped.
        method: 0 plain suppression, 1 linear, 2 Gaussian.
        offset: As in :func:`nms`.

    Returns:
        Indices of the boxes that stay, (K,), in the order in which they were taken.

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
    """RoIAlign with average pooling; writes ``output``, (K, C, aligned_height, aligned_width).

    Args:
        features: (B, C, H, W).
        rois: (K, 5): index in the batch, x1, y1, x2, y2 in pixels of the image.
        pool_mode: 1 for average; 0, maximum, is not here.
        aligned: Whether pixels are at half-integer positions.

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
    """Gradient of :func:`roi_align_forward`; writes ``grad_input``, (B, C, H, W)."""
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
    """``mmcv._ext``, where an operator that is not here can be imported, as mmcv does, but not called."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise _missing(name)

        return missing


def install_stand_in() -> bool:
    """Put the stand-in in the place of ``mmcv._ext``, once, and only where mmcv has none.

    Returns:
        Whether the stand-in is what mmcv uses.
    """
    present = sys.modules.get(NAME)
    if present is not None or find_spec(NAME) is not None:
        return isinstance(present, StandIn)
    module = StandIn(NAME, __doc__)
    module.__spec__ = ModuleSpec(NAME, loader=None)
    for operator in (nms, softnms, roi_align_forward, roi_align_backward):
        setattr(module, operator.__name__, operator)
    sys.modules[NAME] = module
    _mend_what_is_imported()
    print_log(
        'mmcv has no compiled operators: aemim_mm serves nms, soft_nms and roi_align from torchvision.',
        logger='current',
    )
    return True


def _mend_what_is_imported():
    """Modules that were imported before, as mmpretrain does with parts of mmdet, had to do without operators."""
    import mmcv.ops

    for name, module in list(sys.modules.items()):
        if name == 'mmcv.cnn.bricks.transformer':
            module.MultiScaleDeformableAttention = mmcv.ops.MultiScaleDeformableAttention
        elif name.startswith('mmdet.'):
            # onedl-mmdetection defined functions that only raise under these names.
            for operator in MENDED:
                if getattr(getattr(module, operator, None), '__module__', None) == name:
                    setattr(module, operator, getattr(mmcv.ops, operator))
