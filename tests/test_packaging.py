"""Build wheel, sdist and editable install from a copy of the checkout, and check that each contains .mim."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import mmengine
import pytest

from aemim_mm.stack import stack_report

REPO = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow

# Find the package as mim does, and load its first config. A new process in another folder runs this.
LOOKUP = """
import importlib.util, json, pathlib, sys, warnings
warnings.simplefilter('ignore')
import mmengine
from mmengine.utils import get_installed_path
if sys.argv[1] == 'mim':
    root = pathlib.Path(get_installed_path('aemim_mm'))
else:
    root = pathlib.Path(importlib.util.find_spec('aemim_mm').origin).parent
index = mmengine.load(root / '.mim/model-index.yml')
metafiles = [(root / '.mim' / name).is_file() for name in index['Import']]
config = mmengine.Config.fromfile(root / '.mim/configs/aemim_vit-b_800e.py')
import aemim_mm
from mmpretrain.apis import ModelHub
assert ModelHub._models_dict['aemim_vit-b_800e'].config == str(root / '.mim/configs/aemim_vit-b_800e.py')
print(json.dumps([str(root), metafiles, config.model.type, aemim_mm.__file__]))
"""


def run(*args, cwd, **env):
    env = {**os.environ, 'PYTHONPATH': '', **env}
    done = subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def files_below(folder):
    """Return the files below a folder, relative to it, without compiled Python."""
    paths = (path for path in Path(folder).rglob('*') if path.is_file() and path.suffix != '.pyc')
    return {path.relative_to(folder).as_posix() for path in paths}


def mim_content():
    """Return the files that .mim must contain."""
    below = {f'{name}/{path}' for name in ('configs', 'tools') for path in files_below(REPO / name)}
    return below | {'model-index.yml'}


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """Copy the sources, so that the build leaves nothing in the real checkout."""
    ignore = shutil.ignore_patterns('.git', '.venv*', '.mim', 'work_dirs', 'build', 'dist', '*.egg-info', '__pycache__')
    return shutil.copytree(REPO, tmp_path_factory.mktemp('checkout') / 'repo', ignore=ignore)


@pytest.fixture(scope='module')
def built(checkout, tmp_path_factory):
    """Build the sdist, and the wheel from that sdist."""
    out = tmp_path_factory.mktemp('dist')
    run('-m', 'build', '--no-isolation', '--outdir', out, checkout, cwd=out)
    (sdist,), (wheel,) = out.glob('*.tar.gz'), out.glob('*.whl')
    return sdist, wheel


def test_wheel_and_sdist_carry_mim(built):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        names = {name.split('/', 1)[1] for name in archive.getnames() if '/' in name}
        files = {item.name.split('/', 1)[1] for item in archive.getmembers() if item.isfile()}
    inside = {name[len('aemim_mm/.mim/') :] for name in files if name.startswith('aemim_mm/.mim/')}
    assert inside == mim_content()
    assert {'LICENSE', 'pyproject.toml', 'setup.py', 'Makefile', 'configs', 'tests', 'docs/method.svg'} <= names
    assert {path.relative_to(REPO).as_posix() for path in REPO.glob('examples/*.py')} <= names
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name[len('aemim_mm/.mim/') :] for name in names if name.startswith('aemim_mm/.mim/')}
    assert inside == mim_content()


def test_wheel_carries_the_whole_package_and_nothing_else(built):
    names = {name for name in zipfile.ZipFile(built[1]).namelist() if '.dist-info/' not in name}
    package = {name for name in names if not name.startswith('aemim_mm/.mim/')}
    sources = {f'aemim_mm/{path}' for path in files_below(REPO / 'aemim_mm') if not path.startswith('.')}
    assert package == sources
    assert 'aemim_mm/data/fashion_mnist/LICENSE' in package


def test_metadata_requires_no_mm_distribution(built):
    name = next(name for name in zipfile.ZipFile(built[1]).namelist() if name.endswith('.dist-info/METADATA'))
    lines = zipfile.ZipFile(built[1]).read(name).decode().splitlines()
    hard = [line for line in lines if line.startswith('Requires-Dist:') and 'extra ==' not in line]
    required = ['jinja2', 'matplotlib', 'numpy', 'pillow', 'rich', 'safetensors', 'torch>=2.1', 'torchvision']
    assert sorted(hard) == [f'Requires-Dist: {name}' for name in required]
    extras = {line.split(': ')[1] for line in lines if line.startswith('Provides-Extra:')}
    assert extras == {'onedl', 'openmmlab', 'det', 'openmmlab-det', 'robustness', 'study', 'docs', 'dev', 'onnx'}
    assert 'License: Apache-2.0' in lines or 'License-Expression: Apache-2.0' in lines
    assert 'Requires-Python: >=3.10' in lines


def test_installed_wheel_is_found_as_mim_does(built, tmp_path):
    target = tmp_path / 'site'
    run('-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--target', target, built[1], cwd=tmp_path)
    found = json.loads(run('-c', LOOKUP, 'mim', cwd=tmp_path, PYTHONPATH=str(target)).splitlines()[-1])
    assert found == [str(target / 'aemim_mm'), [True], 'AEMIM', str(target / 'aemim_mm/__init__.py')]
    doctor = target / 'aemim_mm/.mim/tools/doctor.py'
    assert run(doctor, '--no-import', cwd=tmp_path).splitlines()[-1] == 'healthy'


def test_editable_install_links_mim(checkout, tmp_path):
    run('-c', f'import setuptools.build_meta as backend; backend.build_editable({str(tmp_path)!r})', cwd=checkout)
    (wheel,) = tmp_path.glob('*.whl')
    zipfile.ZipFile(wheel).extractall(tmp_path)
    mim, package = checkout / 'aemim_mm/.mim', checkout / 'aemim_mm'
    assert {path.name: os.readlink(path) for path in mim.iterdir()} == {
        name: f'../../{name}' for name in ('configs', 'tools', 'model-index.yml')
    }
    # mmengine 0.10.7 looks for packages in site-packages only, so it does not find an editable install by name.
    how = 'mim' if 'onedl-mmengine' in {row.distribution for row in stack_report()} else 'import'
    # -S hides site-packages, where another install of the package may be; the last line adds its dependencies again.
    start = f'import site, sys; sys.path[1:1] = [{str(tmp_path)!r}]; site.addsitedir({str(tmp_path)!r})'
    start += f'; sys.path.append({str(Path(mmengine.__file__).parents[1])!r})'
    found = json.loads(run('-S', '-c', start + LOOKUP, how, cwd=tmp_path).splitlines()[-1])
    assert found == [str(package), [True], 'AEMIM', str(package / '__init__.py')]
