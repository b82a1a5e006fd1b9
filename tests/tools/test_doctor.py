"""Run tools/doctor.py in the real environment and in broken ones."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aemim_mm.quiet import FALSE_ALARMS

REPO = Path(__file__).resolve().parents[2]
DOCTOR = REPO / 'tools/doctor.py'


def run(*args, script=DOCTOR, **options):
    command = [sys.executable, str(script), *args]
    return subprocess.run(command, capture_output=True, text=True, **options)


def without(tmp_path, name, message):
    """Return environment variables with which importing ``name`` fails with ``message``."""
    package = tmp_path / 'broken' / name
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(f'raise OSError({message!r})\n')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([str(package.parent), str(REPO)])}


def test_help_imports_no_package():
    done = subprocess.run([sys.executable, '-X', 'importtime', DOCTOR, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--no-import' in done.stdout
    imported = {line.split('|')[-1].strip().split('.')[0] for line in done.stderr.splitlines()}
    assert 'argparse' in imported
    assert not imported & {'torch', 'numpy', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'aemim_mm'}


def test_healthy_environment():
    done = run('--no-import')
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == 'healthy'
    table = {line.split()[1]: line.split()[0] for line in lines[2:-2]}
    assert [table[name] for name in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain')] == ['ok'] * 5


def test_a_report_names_no_path():
    variables = dict(OMP_NUM_THREADS='3', CUDA_HOME='/opt/cuda', SECRET='word')
    done = run('--no-import', '--report', env={**os.environ, **variables})
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and (lines[0], lines[-1]) == ('```text', '```')
    assert lines[2].startswith('aemim-mm 0.') and {'OMP_NUM_THREADS=3', 'CUDA_HOME=(a path)'} <= set(lines)
    assert not re.search(r'word|(^|\s)/', done.stdout)


@pytest.mark.slow
def test_real_imports():
    done = run(env={**os.environ, 'PYTHONPATH': str(REPO)})
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ('mmengine', 'mmcv', 'mmpretrain', 'aemim_mm'):
        assert f'ok    import {name}' in done.stdout.splitlines()
    assert any(line.startswith('cpu: ') and 'bfloat16: ' in line for line in done.stdout.splitlines())
    assert not any(message.splitlines()[0] in done.stdout + done.stderr for message in FALSE_ALARMS)


@pytest.mark.slow
def test_a_failing_import_is_named_with_its_fix(tmp_path):
    done = run(env=without(tmp_path, 'mmpretrain', 'half a file'))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    index = lines.index('FAIL  import mmpretrain: OSError: half a file')
    assert lines[index + 1].strip().startswith('fix: pip install --force-reinstall --no-deps "')
    assert 'mmpretrain==' in lines[index + 1]
    assert lines[-1].endswith('see the fix above')


def test_missing_packages_are_named_with_their_fix(tmp_path):
    # With -I and -S, Python finds the standard library only, as on a fresh machine.
    done = subprocess.run([sys.executable, '-I', '-S', str(DOCTOR)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith('FAIL')]
    assert failed == ['torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain']
    assert sum(line.startswith('fix: pip install "torch>=2.1" "torchvision" "onedl-mmengine') for line in lines) == 1
    assert lines[-1] == '5 faults: see the fix above'


def test_works_from_an_installed_package(tmp_path):
    installed = tmp_path / 'aemim_mm'
    shutil.copytree(REPO / 'tools', installed / '.mim/tools')
    shutil.copy(REPO / 'aemim_mm/stack.py', installed)
    assert run('--no-import', script=installed / '.mim/tools/doctor.py').stdout.splitlines()[-1] == 'healthy'
    os.remove(installed / 'stack.py')
    done = run('--no-import', script=installed / '.mim/tools/doctor.py')
    assert done.returncode == 1 and 'cannot find aemim_mm/stack.py' in done.stderr
