"""Check what the package imports: lower layers only, mmdet only for detection, and without a message."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aemim_mm

PACKAGE = Path(aemim_mm.__file__).parent
# Which layers of the package a layer may import. Layers that are not listed may import all of these.
MAY_IMPORT = {
    'errors': set(),
    'domain': set(),
    'adapters': {'domain', 'errors'},
    'attacks': {'errors'},
    'replay': {'errors'},
    'data_preprocessor': {'attacks', 'errors'},
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


def layer_files(layer):
    module = PACKAGE / f'{layer}.py'
    return [module] if module.exists() else sorted((PACKAGE / layer).rglob('*.py'))


@pytest.mark.parametrize('layer', MAY_IMPORT)
def test_a_layer_imports_only_those_below(layer):
    files = layer_files(layer)
    assert files
    for path in files:
        own = {name.split('.')[1] for name in imported_modules(path) if name.startswith('aemim_mm.')}
        assert own <= MAY_IMPORT[layer] | {layer}, path


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
# mmpretrain itself imports mmdet where that is installed.
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
