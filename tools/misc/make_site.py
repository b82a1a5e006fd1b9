#!/usr/bin/env python
"""Build the documentation's site, build/site/html, with Sphinx. A warning, such as a broken link, is an error.

The pages of docs/ are copied to build/site/pages first. A link there to a file outside docs/, such as a config, becomes
a link to a page of the site that shows the file.

Example:
    python tools/misc/make_site.py
"""

import argparse
import re
import shutil
import subprocess
import sys
from os.path import relpath
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
# A link to a file, with or without a part of it, but not to an address or to a part of the same page.
LINK = re.compile(r'(\]\()(?![a-z]+:|#)([^)\s#]+)((?:#[^)\s]*)?\))')
LANGUAGES = {'.py': 'python', '.json': 'json', '.yml': 'yaml', '.sh': 'bash', '.toml': 'toml', '.txt': 'text'}


def main():
    parser = argparse.ArgumentParser(description="Build the documentation's site with Sphinx.")
    parser.add_argument('--out', type=Path, default=REPO / 'build/site', metavar='DIR', help='default: build/site')
    out = parser.parse_args().out.resolve()
    pages = out / 'pages'
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(REPO / 'docs', pages)
    configs = (REPO / 'configs/README.md').read_text(encoding='utf-8')
    configs = LINK.sub(r'\1../configs/\2\3', configs).replace('(../configs/../docs/', '(')
    (pages / 'configs.md').write_text(configs, encoding='utf-8')
    shown: set[Path] = set()
    for page in sorted(pages.rglob('*.md')):
        text = page.read_text(encoding='utf-8')
        page.write_text(with_own_links(text, page.relative_to(pages), shown), encoding='utf-8')
    for source in sorted(shown):
        page = pages / page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(source_page(source), encoding='utf-8')
    sphinx = [sys.executable, '-m', 'sphinx', '-W', '-n', '--keep-going', '-q', '-b', 'html']
    sys.exit(subprocess.run([*sphinx, str(pages), str(out / 'html')], check=False).returncode)


def with_own_links(text: str, page: Path, shown: set[Path]) -> str:
    """Let links from a page to files outside docs/ lead to pages of the site.

    Args:
        text: The content of the page.
        page: Where it is in docs/.
        shown: Gets these files, relative to the project.
    """

    def own(match):
        target = (REPO / 'docs' / page.parent / match[2]).resolve()
        if target.is_relative_to(REPO / 'docs') or not (target.exists() and target.is_relative_to(REPO)):
            return match[0]  # Sphinx finds it, or says that it is not there.
        shown.add(target.relative_to(REPO))
        return f'{match[1]}{relpath(page_of(target.relative_to(REPO)), page.parent)})'

    return LINK.sub(own, text)


def page_of(source: Path) -> Path:
    """Return the page that shows a file or folder of the project, without the suffix that a link may leave out."""
    return Path('source', f'{source}.md')


def source_page(source: Path) -> str:
    """Return a page that shows a file, or lists what a folder has."""
    title, path = f'---\norphan: true\n---\n\n# {source}\n\n', REPO / source
    if path.is_dir():
        names = sorted(each.name + '/' * each.is_dir() for each in path.iterdir() if each.name[0] not in '._')
        return title + '\n'.join(f'- `{name}`' for name in names) + '\n'
    fence = '`' * 6
    return f'{title}{fence}{LANGUAGES.get(path.suffix, "text")}\n{path.read_text(encoding="utf-8").rstrip()}\n{fence}\n'


if __name__ == '__main__':
    main()
