"""Check ``docs/method.svg``, the figure of the method."""

import re
from xml.etree import ElementTree

from helpers import runs

TEXT = (runs.REPO / 'docs/method.svg').read_text(encoding='utf-8')
SVG = '{http://www.w3.org/2000/svg}'


def test_it_is_small_and_needs_nothing_else():
    root = ElementTree.fromstring(TEXT)
    assert root.tag == f'{SVG}svg' and len(TEXT) < 12_000
    ids = {element.get('id') for element in root.iter()} - {None}
    used = re.findall(r'url\(#(\w+)\)|href="#(\w+)"', TEXT)
    assert used and {name for pair in used for name in pair if name} <= ids
    assert not re.search(r'href="[^#]|url\([^#]|<script|@import|@font-face', TEXT)


def test_it_has_a_text_for_screen_readers():
    root = ElementTree.fromstring(TEXT)
    assert root.get('role') == 'img'
    for name in root.get('aria-labelledby').split():
        (element,) = (element for element in root if element.get('id') == name)
        assert element.text.strip()


def test_each_colour_has_a_dark_counterpart():
    light, dark = re.findall(r'svg \{(.+?)\}', TEXT, re.DOTALL)
    names = [set(re.findall(r'--[\w-]+(?=:)', rules)) for rules in (light, dark)]
    assert names[0] == names[1] and '@media (prefers-color-scheme: dark)' in TEXT
    # The others are derived from these.
    assert set(re.findall(r'var\((--[\w-]+)\)', TEXT)) <= names[0] | {'--tone', '--bg'}
