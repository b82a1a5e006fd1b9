"""The 15 corruptions of ImageNet-C at 5 severities, made on the fly and the same in every run."""

import inspect
import zlib
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
# They draw from a generator of their own, freshly seeded unless told otherwise.
OWN_GENERATOR = ('impulse_noise', 'glass_blur')
# Pixelating at severity 5 leaves a quarter of each side.
MIN_SIDE = 4


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupt an image as in ImageNet-C, with the package ``imagecorruptions-imaug``.

    Which random numbers an image gets follows from ``seed``, the corruption, the severity and the image's place in the
    data set (its path where it has none). So they are the same in every run, for every model, in whatever order and
    worker it is loaded. NumPy's global random state, which the package uses, is left as it was.

    The package's functions get the image in RGB, as in ImageNet-C. A grey image is shown to them in three equal
    channels; of the noises, one channel is kept, so that the noise has its full strength, of the others, the luminance.
    The package refuses sides under 32 pixels, but its functions do not need them: here, 4 pixels suffice. Strengths in
    pixels, such as the radius of a blur, were chosen for 224: on small images corruptions are far stronger.

    In a config of mmdet, write ``type='mmpretrain.Corrupt'``; mmdet's own ``Corrupt`` is another class.

    Args:
        corruption: One of ``CORRUPTIONS``.
        severity: 1-5.
        seed: >= 0; of another seed come other random numbers.
        channel_order: ``'bgr'``, what OpenMMLab's loaders give, or ``'rgb'``. With ``'rgb'``, a BGR image goes to the
            package as it is, as mmdet's own robustness evaluation does.

    Keys: ``img`` in and out, uint8, ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``; ``sample_idx`` or ``img_path`` in.

    Raises:
        UserError: A wrong argument, the package is missing, or the image is too small or of another type.

    Source: Hendrycks and Dietterich, arXiv 1903.12261.
    """

    def __init__(self, corruption, severity=1, seed=0, channel_order='bgr'):
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
        place = results.get('sample_idx', results.get('img_path'))
        if place is None:
            raise UserError('Corrupt needs sample_idx or img_path, to seed each image. Take it after the loading step.')
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
    """Cut a border of equal width off all four sides.

    Keys: ``img`` in and out; ``img_shape`` out.

    Args:
        width: In pixels, >= 0.

    Raises:
        UserError: Nothing would be left.
    """

    def __init__(self, width):
        self.width = width

    def transform(self, results: dict) -> dict:
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
        corruption: One of ``CORRUPTIONS``.
        severity: 1-5.
        seed: 0 to 2 ** 32 - 1.

    Returns:
        An image of the same shape and type.
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
        done = np.uint8(function(Image.fromarray(np.ascontiguousarray(colour)), severity, **own))
    if channels == 1:
        done = done[..., 0] if corruption in NOISES else cv2.cvtColor(done, cv2.COLOR_RGB2GRAY)
    return done.reshape(image.shape)


def image_seed(seed: int, corruption: str, severity: int, place) -> int:
    """The seed of one image, 0 to 2 ** 32 - 1; ``place`` is its index in the data set, or its path."""
    place = zlib.crc32(place.encode()) if isinstance(place, str) else int(place)
    words = [seed, zlib.crc32(corruption.encode()), severity, place]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def check_severity(severity) -> None:
    """Raise a UserError unless ``severity`` is one of 1-5."""
    if isinstance(severity, bool) or severity not in SEVERITIES:
        raise UserError(f'severity is an integer from 1 to 5, but got {severity!r}.')


@contextmanager
def numpy_seed(seed: int):
    """Seed NumPy's global generator, and give it back its state."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def functions() -> dict:
    """The package's functions by name."""
    install = "Install it with: pip install 'imagecorruptions-imaug>=1.1.5'"
    try:
        from imagecorruptions import corruption_dict
    except ImportError as error:
        raise UserError(f'Corruptions need the package imagecorruptions-imaug ({error}). {install}') from error
    if any('seed' not in inspect.signature(corruption_dict[name]).parameters for name in OWN_GENERATOR):
        raise UserError(
            f'The installed imagecorruptions cannot be seeded: it is not that of imagecorruptions-imaug. {install}, '
            'after: pip uninstall imagecorruptions imagecorruptions-imaug'
        )
    return corruption_dict
