"""Imports go down only, and detection is imported on demand only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aemim_mm

PACKAGE = Path(aemim_mm.__file__).parent
# Imports go down only: a room imports rooms that stand below it here.
ROOMS = (
    'study',
    *('robustness', 'benchmark', 'launch', 'apis', 'det', 'engine', 'export', 'evaluation', 'visualization', 'models'),
    *(
        'second_view',
        'data_preprocessor',
        'adapters',
        'attacks',
        'replay',
        'datasets',
        'report',
        'checkpoints',
        'domain',
        'stack',
    ),
    *('quiet', 'errors', 'version'),
)
# The method depends on nothing else.
MAY_IMPORT = {
    'errors': set(),
    'domain': set(),
    'adapters': {'domain', 'errors'},
    'attacks': {'errors'},
    'replay': {'errors'},
    'data_preprocessor': {'attacks', 'datasets', 'errors'},
    'second_view': {'attacks', 'data_preprocessor', 'datasets', 'errors'},
    'models': {'adapters', 'attacks', 'data_preprocessor', 'domain', 'errors', 'replay'},
}


def imported_modules(path):
    """Yield the absolute dotted names that a file imports anywhere; ``from a import b`` gives ``a.b``."""
    package = ('aemim_mm', *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            base = '.'.join([*parents, *([node.module] if node.module else [])])
            yield from (f'{base}.{alias.name}' for alias in node.names)


def room_files(room):
    module = PACKAGE / f'{room}.py'
    files = [module] if module.exists() else sorted((PACKAGE / room).rglob('*.py'))
    assert files
    return files


def imported_rooms(path):
    return {name.split('.')[1] for name in imported_modules(path) if name.startswith('aemim_mm.')}


def test_all_rooms_are_in_order():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()}
    assert set(ROOMS) == found - {'__init__'}


@pytest.mark.parametrize('room', ROOMS)
def test_imports_go_down_only(room):
    below = {*ROOMS[ROOMS.index(room) :]}
    for path in room_files(room):
        assert imported_rooms(path) <= below, path


@pytest.mark.parametrize('room', MAY_IMPORT)
def test_the_method_imports_nothing_else(room):
    for path in room_files(room):
        assert imported_rooms(path) <= MAY_IMPORT[room] | {room}, path


def lines_of(files):
    return {path: len(path.read_text(encoding='utf-8').splitlines()) for path in files}


def test_files_are_short_and_the_method_is_below_400_lines():
    long = {path: count for path, count in lines_of(PACKAGE.rglob('*.py')).items() if count > 250}
    assert long == {}
    mixin = PACKAGE / 'models/algorithms/adversarial_mim.py'
    layers = PACKAGE / 'adapters/adapted.py'
    assert sum(lines_of([mixin, *room_files('data_preprocessor'), layers]).values()) < 400


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), 'PACKAGE', tmp_path)
    (tmp_path / 'models').mkdir()
    path = tmp_path / 'models' / 'x.py'
    path.write_text(
        'import a.b\nfrom ..domain import D\nfrom .vit import V\nfrom .. import hooks\ndef f(): from c import d'
    )
    assert set(imported_modules(path)) == {'a.b', 'aemim_mm.domain.D', 'aemim_mm.models.vit.V', 'aemim_mm.hooks', 'c.d'}


def test_only_det_imports_mmdet():
    for path in PACKAGE.rglob('*.py'):
        if 'det' not in path.relative_to(PACKAGE).parts[:-1]:
            assert not any(name.split('.')[0] == 'mmdet' for name in imported_modules(path)), path


WITHOUT_MMDET = "import sys; sys.modules['mmdet'] = None; import aemim_mm"
# mmpretrain itself imports mmdet if mmdet is installed.
NO_MORE_THAN_MMPRETRAIN = """
import sys, mmpretrain.models
def mmdet(): return {name for name in sys.modules if name.split('.')[0] == 'mmdet'}
before = mmdet()
import aemim_mm
sys.exit(f'aemim_mm imported {mmdet() - before}' if mmdet() != before else 0)
"""


def in_a_new_process(code, warnings=''):
    """Run Python code with this setting of ``PYTHONWARNINGS``."""
    env = {**os.environ, 'PYTHONWARNINGS': warnings}
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=PACKAGE.parent, env=env)


# A user may turn warnings into errors.
@pytest.mark.parametrize(
    ('code', 'warnings'), [(WITHOUT_MMDET, 'error'), (NO_MORE_THAN_MMPRETRAIN, '')], ids=['absent', 'present']
)
def test_importing_the_package_does_not_import_mmdet(code, warnings):
    done = in_a_new_process(code, warnings)
    assert done.returncode == 0, done.stderr


def test_public_names():
    for name in ('Domain', 'use_domain', 'split_adapters', 'AdvDataPreprocessor', 'AEMIM', 'AESimMIM', 'AEMIMViT'):
        assert name in aemim_mm.__all__ and hasattr(aemim_mm, name)


def test_importing_the_package_prints_nothing():
    done = in_a_new_process('import aemim_mm')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
