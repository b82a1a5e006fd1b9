"""Make test pipelines for corrupted or attacked images from the pipelines of a config (lists of dicts)."""

from copy import deepcopy

from ..errors import UserError
from .of_config import kind_of

LOADING_STEPS = ('LoadImageFromFile', 'LoadWholeImage')
RESIZES = ('Resize', 'ResizeEdge')


def corrupted(pipeline: list, corruption: str, severity: int, seed: int = 0) -> list:
    """Add a corruption to a classifier's test pipeline: after resizing and cropping, as in ImageNet-C.

    Args:
        pipeline: A test pipeline of mmpretrain, which ends with ``PackInputs``.
        corruption, severity, seed: Arguments of ``Corrupt``.

    Returns:
        A new pipeline with ``Corrupt`` before ``PackInputs``.

    Raises:
        UserError: The pipeline has no ``PackInputs``.
    """
    pipeline = deepcopy(list(pipeline))
    packing = [i for i, step in enumerate(pipeline) if kind_of(step) == 'PackInputs']
    if not packing:
        raise UserError(f'Expected a pipeline with PackInputs, but got {[kind_of(step) for step in pipeline]}.')
    pipeline.insert(packing[0], dict(type='Corrupt', corruption=corruption, severity=severity, seed=seed))
    return pipeline


def corrupted_detection(pipeline: list, corruption: str, severity: int, seed: int = 0) -> list:
    """Add a corruption to a detector's test pipeline: after loading, as in COCO-C.

    As in mmdet's robustness evaluation, the channels are not swapped: the image remains BGR. The transform comes from
    mmpretrain's scope, because mmdet's own ``Corrupt`` has no seed for each image, and onedl-mmdetection 3.5 lacks it.

    Args:
        pipeline: A test pipeline of mmdet.
        corruption, severity, seed: Arguments of ``Corrupt``.

    Returns:
        A new pipeline with ``mmpretrain.Corrupt`` after the loading step.

    Raises:
        UserError: The pipeline has no loading step.
    """
    step = dict(type='mmpretrain.Corrupt', corruption=corruption, severity=severity, seed=seed, channel_order='rgb')
    return _after_loading(pipeline, step)


def annotated_detection(pipeline: list, loading: dict) -> list:
    """Let a detector's test pipeline transform the annotations as it does the image, as in training.

    mmdet's own test pipelines load annotations after ``Resize``, so boxes and masks are those of the original size.

    Args:
        pipeline: A test pipeline of mmdet.
        loading: Config of ``LoadAnnotations``.

    Returns:
        A new pipeline with ``loading`` after the loading step, and no other ``LoadAnnotations``.

    Raises:
        UserError: The pipeline has no loading step.
    """
    return _after_loading([step for step in pipeline if kind_of(step) != 'LoadAnnotations'], loading)


def _after_loading(pipeline: list, step: dict) -> list:
    """Copy a pipeline with one more step after the one that loads the image."""
    pipeline = deepcopy(list(pipeline))
    loading = [i for i, step in enumerate(pipeline) if kind_of(step) in LOADING_STEPS]
    if not loading:
        raise UserError(f'Expected a pipeline with LoadImageFromFile, but got {[kind_of(step) for step in pipeline]}.')
    pipeline.insert(loading[0] + 1, deepcopy(step))
    return pipeline


def native_size(pipeline: list) -> list:
    """Make a classifier's test pipeline for ImageNet-C, whose images of 224 x 224 pixels are already cropped.

    Args:
        pipeline: A test pipeline of mmpretrain.

    Returns:
        A new pipeline with one ``Resize`` to the size of the crop in place of resizing and central crop. At 224 pixels
        it changes nothing. A pipeline without ``CenterCrop`` is only copied.
    """
    pipeline = deepcopy(list(pipeline))
    crops = [step for step in pipeline if kind_of(step) == 'CenterCrop']
    if not crops:
        return pipeline
    resizing = [step for step in pipeline if kind_of(step) in RESIZES]
    how = {name: step[name] for step in resizing for name in ('interpolation', 'backend') if name in step}
    size = crops[0]['crop_size']
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    resize = dict(type='Resize', scale=(width, height), **how)
    return [resize if step is crops[0] else step for step in pipeline if step not in resizing]
