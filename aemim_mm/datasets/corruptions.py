"""The 15 corruptions of ImageNet-C at 5 severities, computed at loading and equal in every run."""

import inspect
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from ..errors import UserError, unknown_name

# In the order of ImageNet-C: noise, blur, weather, digital.
CORRUPTIONS = (
    'gaussian_noise',
    'shot_noise',
    'impulse_noise',
    'defocus_blur',
    'glass_blur',
    'motion_blur',
    'zoom_blur',
    'snow',
    'frost',
    'fog',
    'brightness',
    'contrast',
    'elastic_transform',
    'pixelate',
    'jpeg_compression',
)
SEVERITIES = (1, 2, 3, 4, 5)
NOISES = CORRUPTIONS[:3]
# These functions use their own generator, which needs a seed.
OWN_GENERATOR = ('impulse_noise', 'glass_blur')
# In pixels. `pixelate` at severity 5 scales each side by a quarter.
MIN_SIDE = 4


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt an image as in ImageNet-C, with the package ``imagecorruptions-imaug``.

    The random numbers of an image depend on ``seed``, the corruption, the severity and the image's index in the data
    set (or its path). They do not depend on the run, the model, the loading order or the worker. NumPy's global random
    state, which the package uses, is restored.

    The functions of the package get an RGB image, as in ImageNet-C. A grey image is repeated to three channels. After a
    noise, one channel is kept, so that the noise has its full strength; after other corruptions, the luminance is kept.
    The package refuses images with a side below 32 pixels. This transform accepts sides of 4 pixels. Strengths in
    pixels, such as the radius of a blur, were chosen for 224 pixels, so corruptions of small images are much stronger.

    In a config of mmdet, write ``type='mmpretrain.Corrupt'``. mmdet's own ``Corrupt`` is another class.

    Args:
        corruption: A name in ``CORRUPTIONS``.
        severity: 1-5.
        seed: The seed of the random numbers, >= 0.
        channel_order: ``'bgr'``, the order of OpenMMLab's loaders, or ``'rgb'``. With ``'rgb'``, channels are not
            swapped, so that a BGR image goes to the package as it is. mmdet's own robustness evaluation does this.

    Keys: ``img`` in and out, uint8, ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``; ``sample_idx`` or ``img_path`` in.

    Raises:
        UserError: An argument is wrong, the package is missing, or the image is too small or no uint8 image.

    Source: Hendrycks and Dietterich, arXiv 1903.12261.
    """

    def __init__(self, corruption: str, severity: int = 1, seed: int = 0, channel_order: str = 'bgr'):
        if corruption not in CORRUPTIONS:
            raise unknown_name('corruption', corruption, CORRUPTIONS)
        check_severity(severity)
        if not isinstance(seed, int) or seed < 0:
            raise UserError(f'seed is an integer, at least 0, but got {seed!r}.')
        if channel_order not in ('bgr', 'rgb'):
            raise unknown_name('channel_order', channel_order, ('bgr', 'rgb'))
        functions()
        self.corruption, self.severity, self.seed, self.channel_order = corruption, severity, seed, channel_order

    def transform(self, results: dict) -> dict:
        """Corrupt ``results['img']``."""
        place = results.get('sample_idx', results.get('img_path'))
        if place is None:
            raise UserError(
                'Corrupt needs sample_idx or img_path, to seed each image. Place it after the loading step.'
            )
        image = results['img']
        swap = self.channel_order == 'bgr' and image.ndim == 3 and image.shape[2] == 3
        image = image[..., ::-1] if swap else image
        seed = image_seed(self.seed, self.corruption, self.severity, place)
        image = corrupt(image, self.corruption, self.severity, seed)
        results['img'] = np.ascontiguousarray(image[..., ::-1] if swap else image)
        return results

    def __repr__(self):
        return (
            f'{type(self).__name__}(corruption={self.corruption!r}, severity={self.severity}, seed={self.seed}, '
            f'channel_order={self.channel_order!r})'
        )


@TRANSFORMS.register_module()
class CropBorder(BaseTransform):
    """Crop a border of equal width on all four sides.

    Keys: ``img`` in and out; ``img_shape`` out.

    Args:
        width: In pixels, >= 0.

    Raises:
        UserError: No pixel would be left.
    """

    def __init__(self, width: int):
        self.width = width

    def transform(self, results: dict) -> dict:
        """Crop ``results['img']``."""
        height, width = results['img'].shape[:2]
        if min(height, width) <= 2 * self.width:
            raise UserError(f'A border of {self.width} pixels cannot be cut off an image of {height}x{width}.')
        results['img'] = results['img'][self.width : height - self.width, self.width : width - self.width]
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self):
        return f'{type(self).__name__}(width={self.width})'


def corrupt(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """Corrupt one image.

    Args:
        image: uint8, RGB ``(H, W, 3)`` or grey ``(H, W, 1)`` or ``(H, W)``, each side at least 4.
        corruption: A name in ``CORRUPTIONS``.
        severity: 1-5.
        seed: 0 to 2 ** 32 - 1.

    Returns:
        An image of the same shape and type.

    Raises:
        UserError: The image is too small or no uint8 image.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3):
        raise UserError(
            f'Corrupt takes uint8 images with 1 or 3 channels, (H, W, C) or (H, W), but got {image.dtype} of shape '
            f'{image.shape}. Place it before normalisation and packing.'
        )
    if min(image.shape[:2]) < MIN_SIDE:
        raise UserError(f'Corrupt needs sides of at least {MIN_SIDE} pixels, but got an image of {image.shape[:2]}.')
    colour = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if channels == 1 else image
    function, own = functions()[corruption], dict(seed=seed) if corruption in OWN_GENERATOR else {}
    with numpy_seed(seed):
        done = np.array(function(Image.fromarray(np.ascontiguousarray(colour)), severity, **own), np.uint8)
    if channels == 1:
        done = done[..., 0] if corruption in NOISES else cv2.cvtColor(done, cv2.COLOR_RGB2GRAY)
    return done.reshape(image.shape)


def image_seed(seed: int, corruption: str, severity: int, place: int | str) -> int:
    """Return the seed of one image, 0 to 2 ** 32 - 1; ``place`` is its index in the data set, or its path."""
    place = zlib.crc32(place.encode()) if isinstance(place, str) else int(place)
    words = [seed, zlib.crc32(corruption.encode()), severity, place]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def check_severity(severity: object) -> None:
    """Raise a UserError unless ``severity`` is one of 1-5."""
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise UserError(f'severity is an integer from 1 to 5, but got {severity!r}.')


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator; restore its state at the end."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def functions() -> dict:
    """Return the functions of the package by name.

    Raises:
        UserError: The package is missing, or another package of the same name is installed.
    """
    install = "Install it with: pip install 'imagecorruptions-imaug>=1.1.5'"
    try:
        from imagecorruptions import corruption_dict
    except ImportError as error:
        raise UserError(f'Corruptions need the package imagecorruptions-imaug ({error}). {install}') from error
    if any('seed' not in inspect.signature(corruption_dict[name]).parameters for name in OWN_GENERATOR):
        raise UserError(
            f'The installed imagecorruptions cannot be seeded: it is not imagecorruptions-imaug. {install}, '
            'after: pip uninstall imagecorruptions imagecorruptions-imaug'
        )
    return corruption_dict
