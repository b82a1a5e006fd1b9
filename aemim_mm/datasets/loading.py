"""Read image files: the one decoder of training, evaluation, detection and ``load_encoder``."""

import io
import os
import os.path as osp
import warnings
from collections.abc import Callable
from contextlib import suppress
from os import PathLike

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError, unknown_name

# Pillow would run Ghostscript on an EPS file, whatever its name.
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM')
# Pillow's mode for each color_type of mmcv's LoadImageFromFile.
MODES = {
    'color': 'RGB',
    'grayscale': 'L',
    'color_ignore_orientation': 'RGB',
    'grayscale_ignore_orientation': 'L',
}
MAX_PIXELS = 89_478_485
SAMPLES_PER_PIXEL = 277


class UnreadableImageError(UserError):
    """A file cannot be read as an image. ``UnlabelledFolder`` and ``LabelledFolder`` skip such files."""


@TRANSFORMS.register_module()
class LoadWholeImage(BaseTransform):
    """Load an image as mmcv's ``LoadImageFromFile`` does, but fail if the file is not complete.

    mmcv decodes with OpenCV. OpenCV up to at least 4.9 decodes a truncated JPEG without an error and fills the missing
    part with arbitrary pixels. This transform decodes with Pillow, which detects truncation in every format but takes
    half as long again. Neither detects wrong bits inside a JPEG, or a truncated JPEG with an end marker. ``decode``
    says what becomes of images that are not 8-bit RGB.

    Keys: ``img_path`` in; ``img``, ``img_shape`` and ``ori_shape`` out.

    Args:
        to_float32: Convert to float32 instead of uint8. The range remains 0-255.
        backend_args: Arguments of mmengine's file backend.
        color_type: ``'color'`` for ``img`` (H, W, 3), BGR, or ``'grayscale'`` for (H, W). With the suffix
            ``_ignore_orientation``, the image is not rotated by its EXIF orientation.
        max_pixels: Height x width of the largest image to decode. Decoding takes 10 bytes a pixel in each worker: 4
            in Pillow, and 3 in each of two arrays. Default: 89 megapixels, from which on Pillow warns of decompression
            bombs. Pillow itself refuses twice as many.
        min_side: Decode a JPEG at 1/2, 1/4 or 1/8 of its size, which takes less time, if both sides keep this many
            pixels. The decoder averages in the frequency domain, so pixels differ from those of a full decoding that
            is resized. For a ``RandomResizedCrop`` to 224 pixels of at least a fifth of the area, 512 never enlarges a
            square crop. Not for annotations in pixels, such as boxes. Default: full size.

    Raises:
        UserError: An unknown ``color_type``, or a ``min_side`` below 1.
        UnreadableImageError: The file cannot be read or decoded completely, or is too large.
    """

    def __init__(
        self,
        to_float32: bool = False,
        backend_args: dict | None = None,
        color_type: str = 'color',
        max_pixels: int = MAX_PIXELS,
        min_side: int | None = None,
    ):
        if color_type not in MODES:
            raise unknown_name('color_type of LoadWholeImage', color_type, MODES)
        self.to_float32, self.backend_args = to_float32, backend_args
        if min_side is not None and (not isinstance(min_side, int) or min_side < 1):
            raise UserError(f'min_side of LoadWholeImage is a number of pixels >= 1, or None, but got {min_side!r}.')
        self.color_type, self.max_pixels, self.min_side = color_type, max_pixels, min_side

    def transform(self, results: dict) -> dict:
        """Load ``results['img_path']``."""
        # A copy, since Pillow's memory is read-only.
        settings = self.color_type, self.max_pixels, self.backend_args, self.min_side
        img = np.array(read_image(results['img_path'], *settings))
        img = img[..., ::-1] if img.ndim == 3 else img
        results['img'] = img.astype(np.float32) if self.to_float32 else img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def __repr__(self):
        fields = ('to_float32', 'backend_args', 'color_type', 'max_pixels', 'min_side')
        return f'{type(self).__name__}({", ".join(f"{name}={getattr(self, name)!r}" for name in fields)})'


def whole(step: Callable) -> Callable:
    """Return ``LoadWholeImage`` in place of a plain ``LoadImageFromFile``, and other steps unchanged."""
    if type(step) is not LoadImageFromFile:
        return step
    return LoadWholeImage(step.to_float32, step.backend_args, step.color_type)


def read_image(
    path: str | PathLike,
    color_type: str = 'color',
    max_pixels: int = MAX_PIXELS,
    backend_args: dict | None = None,
    min_side: int | None = None,
) -> Image.Image:
    """Read and decode an image file; the arguments are those of ``LoadWholeImage``.

    Raises:
        UnreadableImageError: The file cannot be read or decoded completely, or is too large. The message names it.
    """
    try:
        # Reading a named pipe waits, and reading a device may never end.
        if osp.exists(path) and not osp.isfile(path):
            raise OSError('no regular file')
        return decode(fileio.get(os.fspath(path), backend_args=backend_args), color_type, max_pixels, min_side)
    # For a broken file, Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error and others.
    except Exception as error:
        # Pillow's own message contains only the address of the buffer.
        reason = 'of no known format' if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImageError(
            f'Cannot read the image {path} ({type(error).__name__}: {reason}). Expected a complete image file of 1 to '
            f'4 channels, {", ".join(FORMATS)}; replace or remove it.'
        ) from error


def decode(
    content: bytes, color_type: str = 'color', max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> Image.Image:
    """Decode an image file, and rotate the image by its EXIF orientation; of several frames, take the first.

    Args:
        content: The bytes of the file.
        color_type, max_pixels, min_side: As in ``LoadWholeImage``.

    Returns:
        An image as :func:`eight_bits` returns it.

    Raises:
        Exception: Any exception of Pillow for an image that is broken or truncated; a ValueError for one that is too
            large, has more than 4 channels, or whose range of pixels is unknown.
    """
    with warnings.catch_warnings():
        # Pillow warns of defects that do not prevent decoding: in the EXIF data, the palette or the size.
        warnings.simplefilter('ignore')
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise ValueError(
                f'{image.width} x {image.height} pixels are more than {max_pixels}, the max_pixels of LoadWholeImage'
            )
        # Pillow would drop all but the first channels of a TIFF.
        channels = getattr(image, 'tag_v2', {}).get(SAMPLES_PER_PIXEL, 1)
        if channels > 4:
            raise ValueError(f'{channels} channels')
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        image.load()
        if not color_type.endswith('_ignore_orientation'):
            # Defects of the EXIF data do not prevent decoding either.
            with suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
        return eight_bits(image, MODES[color_type])


def eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image of any kind to 8-bit RGB or grey.

    Grey, palette and CMYK images are converted as Pillow does. Transparency and any other fourth channel is dropped, as
    OpenCV does. Of 16 bits the high 8 are kept, as OpenCV does; Pillow and mmcv would clip all values above 255 to
    white.

    Args:
        image: Any image.
        mode: ``'RGB'`` or ``'L'`` (grey).

    Raises:
        ValueError: The image has pixels of 32 bits, whose range is unknown, or CIELAB colours.
    """
    if image.mode in ('F', 'LAB'):
        raise ValueError('32-bit pixels, whose range is unknown' if image.mode == 'F' else 'CIELAB colours')
    if image.mode == 'I' or image.mode.startswith('I;16'):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError('32-bit pixels, whose range is unknown')
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)
