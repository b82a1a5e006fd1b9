"""Test pipelines under corruption, from those of a config. Lists of dicts in, new lists of dicts out."""

from copy import deepcopy

from ..errors import UserError

LOADERS = ('LoadImageFromFile', 'LoadWholeImage')
RESIZES = ('Resize', 'ResizeEdge')


def corrupted(pipeline: list, corruption: str, severity: int, seed: int = 0) -> list:
    """A classifier's test pipeline with a corruption on the fly, where ImageNet-C has it: after resizing and cropping.

    Args:
        pipeline: A test pipeline of mmpretrain, which ends in packing.
        corruption, severity, seed: Of ``Corrupt``.

    Returns:
        The pipeline with ``Corrupt`` before the packing.
    """
    pipeline = deepcopy(list(pipeline))
    packing = [i for i, step in enumerate(pipeline) if _name(step) == 'PackInputs']
    if not packing:
        raise UserError(f'Expected a pipeline with PackInputs, but got {[_name(step) for step in pipeline]}.')
    pipeline.insert(packing[0], dict(type='Corrupt', corruption=corruption, severity=severity, seed=seed))
    return pipeline


def corrupted_detection(pipeline: list, corruption: str, severity: int, seed: int = 0) -> list:
    """A detector's test pipeline with a corruption on the fly, where COCO-C has it: right after loading.

    As in mmdet's robustness evaluation, the package gets the image as it was loaded, in BGR. It is mmpretrain's scope
    that has the transform: mmdet's own ``Corrupt`` has no seed per image, and onedl-mmdetection 3.5 has none at all.

    Args:
        pipeline: A test pipeline of mmdet.
        corruption, severity, seed: Of ``Corrupt``.

    Returns:
        The pipeline with ``mmpretrain.Corrupt`` after the loading step.
    """
    pipeline = deepcopy(list(pipeline))
    loading = [i for i, step in enumerate(pipeline) if _name(step) in LOADERS]
    if not loading:
        raise UserError(f'Expected a pipeline with LoadImageFromFile, but got {[_name(step) for step in pipeline]}.')
    step = dict(type='mmpretrain.Corrupt', corruption=corruption, severity=severity, seed=seed, channel_order='rgb')
    pipeline.insert(loading[0] + 1, step)
    return pipeline


def native_size(pipeline: list) -> list:
    """A classifier's test pipeline for ImageNet-C, whose images are 224 x 224 and not to be enlarged to 256.

    Args:
        pipeline: A test pipeline of mmpretrain.

    Returns:
        The pipeline in which resizing and a central crop have become one ``Resize`` of the whole image to the size of
        the crop; at 224, it does nothing. A pipeline without ``CenterCrop`` stays as it is.
    """
    pipeline = deepcopy(list(pipeline))
    crops = [step for step in pipeline if _name(step) == 'CenterCrop']
    if not crops:
        return pipeline
    resizing = [step for step in pipeline if _name(step) in RESIZES]
    how = {name: step[name] for step in resizing for name in ('interpolation', 'backend') if name in step}
    size = crops[0]['crop_size']
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    resize = dict(type='Resize', scale=(width, height), **how)
    return [resize if step is crops[0] else step for step in pipeline if step not in resizing]


def _name(step) -> str:
    kind = step['type']
    return (kind if isinstance(kind, str) else kind.__name__).split('.')[-1]
