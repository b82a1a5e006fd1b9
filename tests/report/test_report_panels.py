"""Embedded pictures decode to exactly the arrays that were given."""

import base64

import cv2
import numpy as np
import pytest

from aemim_mm.report import Panel
from aemim_mm.report.page import render_section
from aemim_mm.report.panels import data_uri

COLUMNS = ['original', 'masked', 'reconstruction', 'adversarial', 'perturbation ×20', 'masked', 'reconstruction']


def decode(uri):
    """Return the picture of a data URI, (H, W, 3) RGB or (H, W)."""
    head, _, body = uri.partition(',')
    assert head == 'data:image/png;base64'
    image = cv2.imdecode(np.frombuffer(base64.b64decode(body, validate=True), np.uint8), cv2.IMREAD_UNCHANGED)
    return image[..., ::-1] if image.ndim == 3 else image


def pictures(count, shape=(28, 28, 3)):
    return list(np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8))


@pytest.mark.parametrize('groups', [(), (('clean', 3), ('adversarial', 4))])
def test_every_picture_decodes_to_its_array_under_its_heading(parse, groups):
    rows = [pictures(7), pictures(7, (28, 28))]
    page = parse(render_section(Panel('Panels', '', COLUMNS, rows, groups)))
    figures = page.find('figure')
    assert len(figures) == 14
    for figure, expected in zip(figures, [image for row in rows for image in row], strict=True):
        np.testing.assert_array_equal(decode(figure.find('img')[0].attrs['src']), expected)
    assert [figure.find('figcaption')[0].text for figure in figures] == COLUMNS * 2
    assert [span.text for span in page.find('div', 'heads')[0].find('span')] == COLUMNS
    alts = [figure.find('img')[0].attrs['alt'] for figure in figures]
    assert alts[11] == ('Example 2, adversarial, perturbation ×20' if groups else 'Example 2, perturbation ×20')
    if groups:
        assert [len(node.find('figure')) for node in page.find('div', 'group')] == [0, 0, 3, 4, 3, 4]


def test_views_and_sizes(parse):
    image = np.asfortranarray(pictures(1, (30, 200, 3))[0])[::2, ::-1]
    img = parse(render_section(Panel('P', '', ['a'], [[image]]))).find('img')[0]
    np.testing.assert_array_equal(decode(img.attrs['src']), image)
    assert (img.attrs['width'], img.attrs['height']) == ('200', '15')
    # The browser smooths photographs, but not tiny pictures.
    assert 'class' not in img.attrs
    tiny = parse(render_section(Panel('P', '', ['a'], [[pictures(1)[0]]]))).find('img')[0]
    assert tiny.attrs['class'] == 'pixelated'


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.float32),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_what_is_not_a_picture_is_refused(image):
    with pytest.raises(ValueError, match=r'got a picture of shape .* expected uint8'):
        data_uri(image)


def test_rows_and_groups_have_to_fit_the_columns():
    with pytest.raises(ValueError, match='row 2: got 1 pictures, expected 2'):
        Panel('P', '', ['a', 'b'], [pictures(2), pictures(1)])
    with pytest.raises(ValueError, match=r'groups of \[1\] columns, expected .* add up to 2'):
        Panel('P', '', ['a', 'b'], [pictures(2)], groups=[('clean', 1)])


def test_no_pictures_is_said(parse):
    assert parse(render_section(Panel('P', '', ['a'], []))).text.strip() == 'No pictures were recorded for this panel.'
