"""The page is well formed, escaped, self-contained and accessible, and is written whole or not at all."""

import re
from unittest import mock

import numpy as np
import pytest

from aemim_mm.checkpoints import files
from aemim_mm.errors import UserError
from aemim_mm.report import Chart, Curve, Panel, Table, write_report
from aemim_mm.report.page import TEMPLATES, unbroken_options

EVIL = '<script>alert("x & y")</script>\'"'
STYLE = (TEMPLATES / 'report.css').read_text(encoding='utf-8')


def table(**settings):
    header = ['encoder', 'k-NN', 'linear', 'seconds']
    rows = [
        ['untrained', '70.1', '72.5 ± 0.2', '–'],
        ['MAE', '75.2', '76.5 ± 0.1', '1,200'],
        ['AEMIM', '75.2', '77.9', '900'],
    ]
    return Table('Probes', 'Top-1 in percent.', header, rows, **settings)


def report(path, word='plain', extra=()):
    """Write a report of every kind of section, with ``word`` (test data) in every text that can be set."""
    image = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    sections = [
        Chart(word, word, word, word, [Curve(word, [1, 2, 3], [0.9, 0.6, 0.5])]),
        Table(word, word, [word, 'score'], [[word, '1.0']], best={'score': 'max'}),
        Panel(word, word, [word, 'b'], [[image, image]], groups=[(word, 2)]),
        *extra,
    ]
    steps = [(word, f'python tools/train.py {word}')]
    return write_report(path, title=word, summary=[word], facts={word: word}, sections=sections, next_steps=steps)


def test_markup_in_any_text_stays_text(parse, tmp_path):
    text = report(tmp_path / 'report.html', EVIL).read_text(encoding='utf-8')
    page = parse(text)
    assert not page.find('script')
    plain = parse(report(tmp_path / 'plain.html').read_text(encoding='utf-8'))
    assert [node.tag for node in page.walk()] == [node.tag for node in plain.walk()]
    for tag in ('title', 'h1', 'h2', 'dt', 'dd', 'figcaption', 'li'):
        assert EVIL in page.find(tag)[0].text
    assert page.find('code')[0].text == f'python tools/train.py {EVIL}'
    assert EVIL in page.find('img')[0].attrs['alt']
    assert EVIL in page.find('svg')[0].attrs['aria-label']


def test_nothing_is_loaded_from_elsewhere(parse, tmp_path):
    text = report(tmp_path / 'report.html').read_text(encoding='utf-8')
    page = parse(text)
    assert not [node for tag in ('script', 'link', 'iframe', 'object', 'embed') for node in page.find(tag)]
    for node in page.walk():
        for name in ('src', 'href', 'srcset', 'xlink:href', 'poster', 'action'):
            assert node.attrs.get(name, 'data:').startswith('data:')
    assert not re.search(r'url\(|@import|https?:|//\w', re.sub(r'base64,[\w+/=]*', '', text))


def test_headings_language_and_table_scopes(parse, tmp_path):
    page = parse(report(tmp_path / 'report.html').read_text(encoding='utf-8'))
    assert page.find('html')[0].attrs['lang'] == 'en'
    assert [n.tag for n in page.walk() if re.fullmatch('h[1-6]', n.tag)] == ['h1', 'h2', 'h2', 'h2', 'h2']
    assert 'width=device-width' in page.find('meta')[1].attrs['content']
    assert [th.attrs['scope'] for th in page.find('th')] == ['col', 'col', 'row']
    assert all(img.attrs['alt'] for img in page.find('img'))


def test_a_command_is_copied_as_it_was_given(parse):
    command = "python tools/train.py a-b.py --data-root 'x < y' --amp -n 2 \\\n    --cfg-options optim_wrapper.lr=1e-4"
    page = parse(unbroken_options(command))
    assert page.text == command
    assert [span.text for span in page.find('span')] == ['--data-root', '--amp', '-n', '--cfg-options']


@pytest.mark.parametrize(
    ('best', 'expected'),
    [({}, []), ({'linear': 'max'}, ['77.9']), ({'k-NN': 'max'}, ['75.2', '75.2']), ({'seconds': 'min'}, ['900'])],
)
def test_the_best_numbers_are_marked_and_named(parse, tmp_path, best, expected):
    path = write_report(
        tmp_path / 'r.html', title='t', summary=[], facts={}, sections=[table(best=best)], next_steps=[]
    )
    page = parse(path.read_text(encoding='utf-8'))
    assert [node.text for node in page.find('strong', 'best')] == [f'{cell} (best)' for cell in expected]


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='row 1: got 1 cells, expected 2'):
        Table('T', '', ['a', 'b'], [['x']])
    with pytest.raises(ValueError, match=r"best\['top-1'\] = 'max', expected .* columns \['encoder'"):
        table(best={'top-1': 'max'})
    with pytest.raises(ValueError, match=r"best\['linear'\] = 'most', expected 'max' or 'min'"):
        table(best={'linear': 'most'})


def test_a_failing_section_leaves_the_old_report(tmp_path):
    path = report(tmp_path / 'new' / 'report.html')
    before = path.read_bytes()
    with pytest.raises(TypeError, match='got a section of type str, expected Chart, Table or Panel'):
        report(path, 'other', extra=['not a section'])
    with pytest.raises(ValueError, match='got a picture of shape'):
        report(path, 'other', extra=[Panel('P', '', ['a'], [[np.zeros((4, 4))]])])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = report(tmp_path / 'report.html')
    before = path.read_bytes()
    monkeypatch.setattr(files.os, 'fsync', mock.Mock(side_effect=OSError(28, 'No space left on device')))
    with pytest.raises(UserError, match='No space left'):
        report(path, 'other')
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_report(tmp_path):
    path = report(tmp_path / 'report.html')
    before = path.read_bytes()
    with path.open('rb') as reader:
        assert report(path, 'other') == path
        assert reader.read() == before
    assert b'<h1>other</h1>' in path.read_bytes()


def test_the_same_input_gives_the_same_bytes(tmp_path):
    assert report(tmp_path / 'a.html').read_bytes() == report(str(tmp_path / 'b.html')).read_bytes()


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_contrast_is_at_least_4_5(scheme):
    light, dark = (dict(re.findall(r'--(\w+): (#\w{6});', block)) for block in STYLE.split('@media', 2)[:2])
    colours = light if scheme == 'light' else dark
    assert set(light) == set(dark) and len(light) == 12
    for name in set(colours) - {'paper', 'raised', 'rule'}:
        for ground in ('paper', 'raised'):
            low, high = sorted(luminance(colours[key]) for key in (name, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)
