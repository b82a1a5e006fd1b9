"""Compare the size of each loaded image with its annotation."""

import io
import logging

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine import fileio
from mmengine.logging import print_log
from PIL import Image

from ..errors import UserError

# EXIF orientations that swap width and height, and how to take a rotated image (H, W, 3) back to the stored one.
STORED = {
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.swapaxes(image[::-1, ::-1], 0, 1),
    8: lambda image: np.rot90(image, -1),
}
EXIF_ORIENTATION = 0x0112


@TRANSFORMS.register_module()
class MatchAnnotatedSize(BaseTransform):
    """Let an image lie as its annotation does, or fail if the two have different sizes.

    Decoders rotate an image by the orientation in its EXIF data, but not all annotation tools do. If the annotation has
    the size of the pixels as stored, the tool did not, so this transform undoes the rotation. Warnings count such
    images at the first, tenth, hundredth, ... time. Square images, and images that lie upside down or are mirrored,
    have the same size either way: they stay rotated.

    Keys: ``img``, ``img_path``, ``height`` and ``width`` (of the annotation) in; ``img``, ``img_shape`` and
    ``ori_shape`` out.

    Args:
        backend_args: Arguments of mmengine's file backend.

    Attributes:
        count: Number of images whose rotation was undone, over all workers, ``(1,)``, int64, in shared memory.

    Raises:
        UserError: Image and annotation have different sizes for another reason.
    """

    def __init__(self, backend_args: dict | None = None):
        self.backend_args = backend_args
        self.count = torch.zeros(1, dtype=torch.int64).share_memory_()

    def transform(self, results: dict) -> dict:
        """Compare ``results['img']`` with ``results['height']`` and ``results['width']``."""
        annotated, loaded = (results['height'], results['width']), results['img'].shape[:2]
        if loaded == annotated:
            return results
        path, orientation, stored = results['img_path'], 1, loaded
        if loaded[::-1] == annotated:
            with Image.open(io.BytesIO(fileio.get(path, backend_args=self.backend_args))) as image:
                orientation, stored = image.getexif().get(EXIF_ORIENTATION, 1), image.size[::-1]
        if orientation not in STORED or stored != annotated:
            exif = f' (EXIF orientation {orientation})' if orientation in STORED else ''
            raise UserError(
                f'The image {path} has {_shown(loaded)} pixels{exif}, but its annotation says {_shown(annotated)} '
                '(width x height), so the boxes lie elsewhere. Expected the image that was annotated. Put it there, or '
                'scale the annotation with the image.'
            )
        results['img'] = np.ascontiguousarray(STORED[orientation](results['img']))
        results['img_shape'] = results['ori_shape'] = annotated
        self._warn(path, orientation, annotated)
        return results

    def _warn(self, path: str, orientation: int, size: tuple) -> None:
        self.count += 1
        count = str(self.count.item())
        if count.strip('0') == '1':
            print_log(
                f'{path} has EXIF orientation {orientation}, but its annotation has the size before rotation, '
                f'{_shown(size)}: it is loaded without rotation, to match its boxes ({count} such images so far). '
                'Square, mirrored and upside-down images of the same tool cannot be told. If there are any, remove the '
                'tags, for example with exiftool -Orientation= FILES.',
                'current',
                logging.WARNING,
            )

    def __repr__(self):
        return f'{type(self).__name__}(backend_args={self.backend_args})'


def _shown(size: tuple) -> str:
    return f'{size[1]}x{size[0]}'
