"""Links, named files and quoted code in the documentation are those of the project."""

import ast
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from aemim_mm.models import AdversarialMIM

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')] + sorted(REPO.glob('docs/**/*.md'))

LINK = re.compile(r'!?\[[^\]]*\]\(\s*<?([^)\s>]+)[^)]*\)|<img[^>]*\ssrc="([^"]+)"')
# A path in backticks, alone or as the first word of a command. A bare file name has no known folder.
NAMED = re.compile(r'`(?:python |bash )?((?:[\w.-]+/)+[\w.-]+\.(?:py|sh|md))(?: [^`]*)?`')
CODE_BLOCK = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
# Made by a run, or part of another package.
ELSEWHERE = ('work_dirs/', '.venv', 'mmpretrain/', 'mmdet/', 'mmengine/', 'mmcv/')


def broken(text, folder):
    """List the relative links (from ``folder``) and the named files (from the root) that do not exist."""
    links = [link or image for link, image in LINK.findall(CODE_BLOCK.sub('', text))]
    links = [link.split('#')[0] for link in links if not re.match(r'[a-z]+:|#', link)]
    named = [path for path in NAMED.findall(text) if not path.startswith(ELSEWHERE)]
    missing = [link for link in links if not (folder / link).exists()]
    return missing + [path for path in named if not ((REPO / path).exists() or (folder / path).exists())]


@pytest.mark.parametrize('page', [page for page in PAGES if page.is_file()], ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    assert broken(page.read_text(encoding='utf-8'), page.parent) == []


def test_the_check_finds_what_is_broken():
    text = (
        '[a](LICENSE) [b](gone.md#part) ![c](docs/gone.png "title") [d](https://example.org/x.md) [e](#here) '
        '<img width="4" src="gone.svg"> `aemim_mm/stack.py` `tools/gone.py --flag` `python tools/gone.sh` `bare.py` '
        '`work_dirs/x/y.py` `mmpretrain/models/z.py`\n```\n[f](in_code.md)\n```\n'
    )
    assert broken(text, REPO) == ['gone.md', 'docs/gone.png', 'gone.svg', 'tools/gone.py', 'tools/gone.sh']


def test_named_tests_exist():
    text, named = (REPO / 'docs/fidelity.md').read_text(encoding='utf-8'), 0
    for cell in text.splitlines():
        page = ''
        for path, name in re.findall(r'`(?:(tests/[\w/]+\.py)::)?(test_\w+)`', cell):
            page = path or page
            named += 1
            assert f'def {name}(' in (REPO / page).read_text(encoding='utf-8'), f'{page}::{name}'
    assert named > 10


def without_docstring(method):
    """The source of a method, without its docstring and its indentation."""
    lines = textwrap.dedent(inspect.getsource(method)).splitlines()
    docstring = ast.parse('\n'.join(lines)).body[0].body[0]
    return '\n'.join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno :])


@pytest.mark.parametrize('name', ['two_passes', 'attack'])
def test_the_readme_shows_the_method_as_it_runs(name):
    assert without_docstring(getattr(AdversarialMIM, name)) in (REPO / 'README.md').read_text(encoding='utf-8')
