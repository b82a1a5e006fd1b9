"""Read an image completely or not at all."""

import io
import warnings

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError


class UnreadableImageError(UserError):
    """A file that should be an image cannot be read as one: skipped by ``UnlabelledFolder``, an error elsewhere."""


@TRANSFORMS.register_module()
class LoadWholeImage(BaseTransform):
    """Load an image of any common kind, whole, as mmcv's ``LoadImageFromFile`` would give it.

    mmcv decodes with OpenCV, which up to 4.9 at least gives a truncated JPEG without a word, its missing part filled
    with anything, and needs a third less time. This decodes with Pillow, which notices truncation in every format.
    Neither notices wrong bits inside a JPEG, nor one that was cut and then ended properly.

    Keys as of ``LoadImageFromFile``: ``img_path`` in; ``img``, ``img_shape`` and ``ori_shape`` out.

    Args:
        to_float32: Give float32, not uint8; the range stays 0-255.
        backend_args: Of mmengine's file backend.

    Raises:
        UnreadableImageError: The file cannot be read, or not decoded to its end.
    """

    def __init__(self, to_float32=False, backend_args=None):
        self.to_float32 = to_float32
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            img = decode(fileio.get(path, backend_args=self.backend_args))
        # Pillow's decoders raise almost anything at a broken file: OSError, SyntaxError, struct.error, zlib.error, ...
        except Exception as error:
            # Pillow would name the buffer, which says nothing.
            reason = 'of no known format' if isinstance(error, UnidentifiedImageError) else str(error)
            raise UnreadableImageError(
                f'Cannot read the image {path} ({type(error).__name__}: {reason}). Expected a complete image file; '
                'replace or remove it.'
            ) from error
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self):
        return f'{type(self).__name__}(to_float32={self.to_float32}, backend_args={self.backend_args})'


def decode(content: bytes) -> np.ndarray:
    """Decode an image file, turned as its EXIF orientation says.

    Grey, palette, CMYK and transparent images become three channels, and 16-bit ones 8-bit, as in mmcv.

    Args:
        content: The file's bytes.

    Returns:
        ``(H, W, 3)``, uint8, BGR.

    Raises:
        Exception: Whatever Pillow raises at a broken, truncated or enormous image (over twice
            ``PIL.Image.MAX_IMAGE_PIXELS``: 179 megapixels).
    """
    with warnings.catch_warnings():
        # Oddities of an image that is readable all the same: of its EXIF data, its palette, its mere size.
        warnings.simplefilter('ignore')
        image = Image.open(io.BytesIO(content))
        if image.mode == 'F':
            raise ValueError('32-bit pixels, whose range is unknown')
        if image.mode == 'I' or image.mode.startswith('I;16'):
            return _sixteen_bit(image)
        return mmcv.imfrombytes(content, backend='pillow')


def _sixteen_bit(image):
    """The high byte of 16-bit grey, as OpenCV gives it. Pillow, and so mmcv, would turn all values above 255 white."""
    grey = np.asarray(ImageOps.exif_transpose(image))
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError('32-bit pixels, whose range is unknown')
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
