"""An image is loaded whole, as by OpenCV or mmcv, or it is an error."""

import io

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from aemim_mm.datasets import LoadWholeImage, UnreadableImageError, loading
from aemim_mm.errors import UserError


def encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decode(content, color_type='color'):
    """Decode as ``LoadWholeImage`` does: (H, W, 3) in BGR order or (H, W)."""
    pixels = np.asarray(loading.decode(content, color_type))
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


def opencv(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def photo(photos):
    return Image.fromarray(photos[0])


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF'])
@pytest.mark.parametrize('mode', ['RGB', 'L', '1', 'P', 'RGBA'])
def test_lossless_equal_opencv(photo, mode, kind):
    if (mode, kind) == ('1', 'TIFF'):
        pytest.skip('OpenCV reads black and white TIFF as 0 and 1')
    image = photo.quantize(16) if mode == 'P' else photo.convert(mode)
    content = encode(image, kind)
    got = decode(content)
    assert got.dtype == np.uint8 and got.shape == (photo.height, photo.width, 3)
    np.testing.assert_array_equal(got, opencv(content))


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpeg_is_close_to_opencv(photo, mode):
    content = encode(photo.convert(mode), 'JPEG', quality=95)
    assert np.abs(decode(content).astype(int) - opencv(content)).mean() < 2


def test_webp_equals_mmcv(photo):
    content = encode(photo, 'WEBP')
    np.testing.assert_array_equal(decode(content), mmcv.imfrombytes(content, backend='pillow'))


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_sixteen_bits_equal_opencv(photo, kind):
    grey = np.asarray(photo.convert('L')).astype(np.uint16) * 257 - 3
    content = encode(Image.fromarray(grey), kind)
    got = decode(content)
    np.testing.assert_array_equal(got, opencv(content))
    assert len(np.unique(got)) > 50  # mmcv's Pillow backend turns nearly all of this image white.


def test_sixteen_bit_colour_equals_opencv(photo):
    colour = np.asarray(photo).astype(np.uint16) * 257
    content = cv2.imencode('.png', colour)[1].tobytes()
    np.testing.assert_array_equal(decode(content), opencv(content))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_obeyed(photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(photo, 'JPEG', quality=95, exif=exif)
    got, expected = decode(content), opencv(content)
    assert got.shape == expected.shape == ((*photo.size, 3) if orientation > 4 else (*photo.size[::-1], 3))
    assert np.abs(got.astype(int) - expected).mean() < 2


def test_transparent_palette_gives_no_warning(photo):
    content = encode(photo.quantize(4), 'PNG', transparency=bytes([0, 128, 255, 255]))
    np.testing.assert_array_equal(decode(content), opencv(content))


@pytest.mark.parametrize('to_float32', [False, True])
def test_keys_equal_mmcvs(tmp_path, photo, to_float32):
    path = tmp_path / 'a.png'
    photo.save(path)
    got = LoadWholeImage(to_float32=to_float32)({'img_path': str(path)})
    expected = mmcv.transforms.LoadImageFromFile(to_float32=to_float32)({'img_path': str(path)})
    assert got.keys() == expected.keys()
    assert got['img'].dtype == expected['img'].dtype
    np.testing.assert_array_equal(got.pop('img'), expected.pop('img'))
    assert got == expected


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.tif', 'a.webp'])
@pytest.mark.parametrize('how', ['truncated', 'random', 'empty'])
def test_broken_file_is_unreadable(tmp_path, write, break_file, how, name):
    (path,) = write(tmp_path, [name])
    break_file(path, how)
    with pytest.raises(UnreadableImageError, match=f'Cannot read the image {path} .*replace or remove'):
        LoadWholeImage()({'img_path': str(path)})


def test_missing_file_and_folder_are_unreadable(tmp_path):
    for path in (tmp_path / 'gone.jpg', tmp_path):
        with pytest.raises(UserError, match='Cannot read'):
            LoadWholeImage()({'img_path': str(path)})


def test_enormous_image_is_unreadable_and_a_large_one_is_not(tmp_path, write, photo, monkeypatch):
    (path,) = write(tmp_path, ['a.png'])
    pixels = photo.width * photo.height
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', pixels // 2 - 1)
    with pytest.raises(UnreadableImageError, match='DecompressionBombError'):
        LoadWholeImage()({'img_path': str(path)})
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', pixels - 1)  # Pillow warns, which would fail the test.
    assert LoadWholeImage()({'img_path': str(path)})['img_shape'] == (photo.height, photo.width)


def test_pixels_of_unknown_range_are_unreadable():
    for dtype in (np.float32, np.int32):
        pixels = np.linspace(0, 1e6, 64 * 64).reshape(64, 64).astype(dtype)
        with pytest.raises(ValueError, match='32-bit pixels'):
            decode(encode(Image.fromarray(pixels), 'TIFF'))


def crop_to_64(pixels, box):
    """Cut out a box, in shares of the image, and resize it as mmcv's ``RandomResizedCrop`` does by default."""
    height, width = pixels.shape[:2]
    top, bottom, left, right = (round(share * side) for share, side in zip(box, (height, height, width, width)))
    return mmcv.imresize(pixels[top:bottom, left:right], (64, 64), interpolation='bilinear', backend='cv2')


@pytest.mark.parametrize(('min_side', 'scale'), [(None, 1), (700, 1), (336, 2), (169, 2), (168, 4), (84, 8), (1, 8)])
def test_a_reduced_jpeg_is_near_the_average_of_its_pixels(photos, min_side, scale):
    """The decoder's blocks against means over scale x scale pixels of the full decoding: half a level apart."""
    content = encode(Image.fromarray(np.tile(photos[0], (4, 4, 1))), 'JPEG', quality=95, subsampling=0)
    full = np.asarray(loading.decode(content)).astype(float)
    got = np.asarray(loading.decode(content, min_side=min_side)).astype(float)
    height, width = (side // scale for side in full.shape[:2])
    assert got.shape == (height, width, 3)
    means = full.reshape(height, scale, width, scale, 3).mean(axis=(1, 3))
    apart = np.abs(got - means).mean()
    print(f'1/{scale}: {apart:.2f} levels from the mean over pixels')
    assert apart == 0 if scale == 1 else apart < 1


def test_crops_of_a_reduced_jpeg_are_near_those_of_the_full_one(photos):
    """Crops of a fifth of the area and more, resized to 64 pixels."""
    content = encode(Image.fromarray(photos[0]).resize((1600, 1344)), 'JPEG', quality=95)
    full, reduced = (np.asarray(loading.decode(content, min_side=side)) for side in (None, 160))
    assert reduced.shape == (168, 200, 3)
    for box in ((0, 1, 0, 1), (0.25, 0.75, 0.25, 0.75), (0.5, 1, 0, 0.45)):
        apart = np.abs(crop_to_64(full, box).astype(float) - crop_to_64(reduced, box)).mean()
        print(f'crop {box}: {apart:.1f} levels')
        assert apart < 6


def test_a_reduced_size_is_for_jpeg_alone_and_heeds_the_orientation(photo, tmp_path):
    large = photo.resize((1600, 1344))
    assert loading.decode(encode(large, 'PNG'), min_side=100).size == (1600, 1344)
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate by 90 degrees.
    content = encode(large, 'JPEG', exif=exif)
    (tmp_path / 'a.jpg').write_bytes(content)
    results = LoadWholeImage(min_side=300)(dict(img_path=str(tmp_path / 'a.jpg')))
    assert results['img'].shape == (400, 336, 3) and results['ori_shape'] == (400, 336)
    with pytest.raises(Exception, match='truncated|broken'):
        loading.decode(content[: len(content) // 2], min_side=300)


@pytest.mark.parametrize('min_side', [0, -1, 'a', 1.5])
def test_a_bad_min_side_is_a_clear_error(min_side):
    with pytest.raises(UserError, match='min_side of LoadWholeImage is a number of pixels >= 1'):
        LoadWholeImage(min_side=min_side)
