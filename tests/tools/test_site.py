"""The documentation's site, before Sphinx builds it; and the page about all configs."""

import re
from pathlib import Path

import pytest
from config_pages import config_page
from helpers import runs


@pytest.fixture(scope='module')
def site():
    return runs.tool('misc/make_site.py')


def test_links_out_of_the_documentation_lead_to_pages_of_the_site(site):
    shown = set()
    text = (
        '[a](../configs/demo) [b](../aemim_mm/domain.py) [c](method.md#instruments) [d](https://example.org/x.md) '
        '[e](#here) ![f](method.svg) [g](../gone.py)'
    )
    assert site.with_own_links(text, Path('page.md'), shown) == (
        '[a](source/configs/demo.md) [b](source/aemim_mm/domain.py.md) [c](method.md#instruments) '
        '[d](https://example.org/x.md) [e](#here) ![f](method.svg) [g](../gone.py)'
    ), 'Sphinx finds that the last one is broken'
    assert shown == {Path('configs/demo'), Path('aemim_mm/domain.py')}
    assert site.with_own_links('[a](../../README.md)', Path('api/page.md'), shown) == '[a](../source/README.md.md)'


def test_a_file_is_shown_and_a_folder_is_listed(site):
    page = site.source_page(Path('aemim_mm/domain.py'))
    assert '# aemim_mm/domain.py\n\n``````python\n"""' in page and page.startswith('---\norphan: true\n---\n')
    assert (runs.REPO / 'aemim_mm/domain.py').read_text().rstrip() in page
    listed = site.source_page(Path('configs')).splitlines()
    assert '- `demo/`' in listed and '- `metafile.yml`' in listed and not any('_base_' in line for line in listed)


def test_the_page_about_configs_says_what_each_needs_and_gives():
    page = config_page(runs.CONFIGS)
    entries = re.findall(
        r'- \*\*\[(\S+)\]\(\S+\)\*\*: (.{20,})\n(?:  - total batch size: (\d+)\n)?'
        r'(?:  - costs: .+\n)?  - needs: (.+)\n  - expected: .+\n',
        page,
    )
    configs = [path.stem for path in runs.CONFIGS.rglob('*.py') if '_base_' not in path.parts]
    assert sorted(name for name, *_ in entries) == sorted(configs)
    ((_, _, batch, needs),) = (entry for entry in entries if entry[0] == 'aemim_vit-b_800e')
    assert '  - costs: 149 GFLOP an image, 2.53 times as many\n' in page
    assert batch == '4096' and r'DIR/train/\<class>/\*.JPEG' in needs
