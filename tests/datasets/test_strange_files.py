"""Files that are no 8-bit RGB image, or no image at all, as the one decoder reads them."""

import io
import os
import time
import zlib

import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from aemim_mm.datasets import LoadWholeImage, UnlabelledFolder, UnreadableImageError
from aemim_mm.datasets.loading import MAX_PIXELS, read_image
from aemim_mm.errors import UserError

GREY = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)


def load(path, **kwargs):
    return LoadWholeImage(**kwargs)({'img_path': str(path)})['img']


def refused(path, **kwargs):
    with pytest.raises(UnreadableImageError) as error:
        load(path, **kwargs)
    message = str(error.value)
    assert message.startswith(f'Cannot read the image {path} (') and 'replace or remove it' in message
    return message


def test_one_channel(tmp_path, photos):
    Image.fromarray(photos[0]).save(tmp_path / 'colour.png')
    got = load(tmp_path / 'colour.png', color_type='grayscale')
    assert got.shape == photos[0].shape[:2]
    expected = cv2.imread(str(tmp_path / 'colour.png'), cv2.IMREAD_GRAYSCALE).astype(int)
    assert np.abs(got - expected).max() <= 1
    Image.fromarray(got).save(tmp_path / 'grey.png')
    np.testing.assert_array_equal(load(tmp_path / 'grey.png', color_type='grayscale'), got)


@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_sixteen_bits_are_shifted(tmp_path, kind):
    Image.fromarray(GREY).save(tmp_path / f'x.{kind}')
    np.testing.assert_array_equal(load(tmp_path / f'x.{kind}', color_type='grayscale'), GREY >> 8)
    np.testing.assert_array_equal(load(tmp_path / f'x.{kind}')[..., 1], GREY >> 8)


@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'PA'])
def test_transparency_is_dropped(tmp_path, photos, mode):
    image = Image.fromarray(photos[0]).convert('L').convert('RGBA' if mode == 'PA' else mode)
    image.putalpha(Image.fromarray(photos[1][..., 0]).resize(image.size))
    image.save(tmp_path / 'x.png')
    np.testing.assert_array_equal(load(tmp_path / 'x.png'), cv2.imread(str(tmp_path / 'x.png')))


def test_more_channels(tmp_path):
    tifffile = pytest.importorskip('tifffile')
    four, five = (np.random.default_rng(0).integers(256, size=(8, 9, count), dtype=np.uint8) for count in (4, 5))
    tifffile.imwrite(tmp_path / '4.tif', four, photometric='rgb', extrasamples=['unspecified'])
    tifffile.imwrite(tmp_path / '5.tif', five, photometric='rgb', extrasamples=['unspecified'] * 2)
    np.testing.assert_array_equal(load(tmp_path / '4.tif'), four[..., 2::-1])
    assert '(ValueError: 5 channels). Expected a complete image file of 1 to 4' in refused(tmp_path / '5.tif')


def test_orientation_is_ignored_on_request_and_broken_exif_data_are_harmless(tmp_path, photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photos[0]).save(tmp_path / 'x.jpg', exif=exif)
    height, width = photos[0].shape[:2]
    assert load(tmp_path / 'x.jpg').shape[:2] == (width, height)
    for color_type in ('color_ignore_orientation', 'grayscale_ignore_orientation'):
        assert load(tmp_path / 'x.jpg', color_type=color_type).shape[:2] == (height, width)
    Image.fromarray(photos[0]).save(tmp_path / 'broken.jpg', exif=b'Exif\x00\x00MM\x00*\xff\xff\xff\xff')
    assert load(tmp_path / 'broken.jpg').shape == photos[0].shape
    with pytest.raises(UserError, match="Unknown color_type of LoadWholeImage 'unchanged'. Known: color, color_ign"):
        LoadWholeImage(color_type='unchanged')


def test_ghostscript_is_not_run(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    Image.new('RGB', (8, 8)).save(buffer, 'EPS')
    (tmp_path / 'x.jpg').write_bytes(buffer.getvalue())
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)
    assert 'of no known format' in refused(tmp_path / 'x.jpg')
    assert not (tmp_path / 'ran').exists()


def test_only_regular_files_are_read(tmp_path, write):
    os.mkfifo(tmp_path / 'pipe.jpg')
    (tmp_path / 'zero.jpg').symlink_to('/dev/zero')
    (tmp_path / 'gone.jpg').symlink_to(tmp_path / 'nothing')
    (tmp_path / 'folder.jpg').mkdir()
    for name in ('pipe.jpg', 'zero.jpg', 'folder.jpg'):
        assert 'no regular file' in refused(tmp_path / name)
    assert 'FileNotFoundError' in refused(tmp_path / 'gone.jpg')
    (photo,) = write(tmp_path / 'elsewhere', ['a.jpg'])
    (tmp_path / 'link.jpg').symlink_to(photo)
    dataset = UnlabelledFolder(str(tmp_path), pipeline=[LoadWholeImage()])
    for i in range(len(dataset)):
        dataset[i]
    assert [os.path.basename(path) for path in dataset.unreadable()] == ['gone.jpg', 'pipe.jpg', 'zero.jpg']


def png_of(side):
    """A black and white PNG without pixels that would have to be compressed here: it is only opened."""
    header = side.to_bytes(4, 'big') * 2 + b'\x01\x00\x00\x00\x00'

    def chunk(kind, data):
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


def test_the_largest_image(tmp_path, photos):
    (tmp_path / 'x.png').write_bytes(png_of(13300))
    start = time.process_time()
    assert f'13300 x 13300 pixels are more than {MAX_PIXELS}, the max_pixels of LoadWholeImage' in refused(
        tmp_path / 'x.png'
    )
    assert time.process_time() - start < 0.5, 'it was decoded'
    Image.fromarray(photos[0]).save(tmp_path / 'y.png')
    pixels = photos[0].shape[0] * photos[0].shape[1]
    assert load(tmp_path / 'y.png', max_pixels=pixels).shape == photos[0].shape
    refused(tmp_path / 'y.png', max_pixels=pixels - 1)
    assert read_image(tmp_path / 'y.png').size == photos[0].shape[1::-1]
