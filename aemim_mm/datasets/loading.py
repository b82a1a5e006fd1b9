"""Load images, and fail for images that are not complete."""

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
    """A file cannot be read as an image. ``UnlabelledFolder`` skips such files."""


@TRANSFORMS.register_module()
class LoadWholeImage(BaseTransform):
    """Load an image as mmcv's ``LoadImageFromFile`` does, but fail if the file is not complete.

    mmcv decodes with OpenCV. OpenCV up to at least 4.9 decodes a truncated JPEG without an error and fills the missing
    part with arbitrary pixels. This transform decodes with Pillow, which detects truncation in every format but takes
    half as long again. Neither detects wrong bits inside a JPEG, or a truncated JPEG with an end marker.

    Keys: ``img_path`` in; ``img``, ``img_shape`` and ``ori_shape`` out.

    Args:
        to_float32: Convert to float32 instead of uint8. The range remains 0-255.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        UnreadableImageError: The file cannot be read or decoded completely.
    """

    def __init__(self, to_float32: bool = False, backend_args: dict | None = None):
        self.to_float32 = to_float32
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Load ``results['img_path']``."""
        path = results['img_path']
        try:
            img = decode(fileio.get(path, backend_args=self.backend_args))
        # For a broken file, Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error and others.
        except Exception as error:
            # Pillow's own message contains only the address of the buffer.
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
    """Decode an image file, and rotate the image by its EXIF orientation.

    As in mmcv, grey, palette, CMYK and transparent images are converted to three channels, and 16-bit images to 8 bits.

    Args:
        content: The bytes of the file.

    Returns:
        ``(H, W, 3)``, uint8, BGR.

    Raises:
        Exception: Any exception of Pillow. It raises one for an image that is broken, truncated or larger than twice
            ``PIL.Image.MAX_IMAGE_PIXELS`` (179 megapixels).
    """
    with warnings.catch_warnings():
        # Pillow warns of defects that do not prevent decoding: in the EXIF data, the palette or the size.
        warnings.simplefilter('ignore')
        image = Image.open(io.BytesIO(content))
        if image.mode == 'F':
            raise ValueError('32-bit pixels, whose range is unknown')
        if image.mode == 'I' or image.mode.startswith('I;16'):
            return _sixteen_bit(image)
        return mmcv.imfrombytes(content, backend='pillow')


def _sixteen_bit(image):
    """Keep the high byte of 16-bit grey, as OpenCV does. Pillow and mmcv would clip all values above 255 to white."""
    grey = np.asarray(ImageOps.exif_transpose(image))
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError('32-bit pixels, whose range is unknown')
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
