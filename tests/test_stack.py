"""Check the check of the installed stack, in simulated environments and in the real one."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from aemim_mm import stack

ONEDL = {
    'torch': '2.9.1',
    'torchvision': '0.24.1',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
    'onedl-mmdetection': '3.5.1',
    'numpy': '2.2.6',
    'opencv-python': '4.12.0.88',
    'setuptools': '82.0.0',
}
CLASSIC = {
    'torch': '2.1.2',
    'torchvision': '0.16.2',
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmpretrain': '1.2.0',
    'mmdet': '3.3.0',
    'numpy': '1.26.4',
    'opencv-python': '4.11.0.86',
    'setuptools': '80.9.0',
}
ONEDL_LINE = 'pip install "onedl-mmengine>=0.10.12,<1" "onedl-mmcv>=2.3.6,<2.4" "onedl-mmpretrain>=1.3.6,<2"'
CLASSIC_LINE = (
    'pip install "mmengine>=0.10.7,<1" "mmcv-lite>=2.1.0,<2.2" "mmpretrain>=1.2.0,<2" "mmdet>=3.3.0,<4" '
    '"numpy<2" "opencv-python<4.12" "setuptools<81"'
)
MODULE_OF = {name: module.name for module in (stack.TORCH, stack.TORCHVISION, *stack.MM_MODULES)
             for name in module.distributions}  # fmt: skip


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that simulates an environment with the given distributions, and nothing else."""

    def pretend(distributions, *, hidden=(), python=(3, 11), torchvision_needs='torch==2.9.1', folder='/nowhere'):
        def version(name):
            if name not in distributions:
                raise PackageNotFoundError(name)
            return distributions[name]

        def find_spec(name):
            there = any(MODULE_OF.get(dist) == name for dist in distributions) and name not in hidden
            return SimpleNamespace(submodule_search_locations=[str(folder)]) if there else None

        def requires(name):
            return [torchvision_needs, 'numpy']

        fake = SimpleNamespace(version=version, requires=requires, PackageNotFoundError=PackageNotFoundError)
        monkeypatch.setattr(stack, 'metadata', fake)
        monkeypatch.setattr(stack, 'find_spec', find_spec)
        monkeypatch.setattr(stack, 'sys', SimpleNamespace(version_info=(*python, 0)))

    return pretend


def complaint():
    """Return what ``check_stack`` raises: a line for each fault, and the fix."""
    with pytest.raises(ImportError) as error:
        stack.check_stack()
    first, *packages, fix = str(error.value).splitlines()
    assert first == 'aemim_mm cannot run on what is installed:'
    assert fix.startswith('Fix:  ')
    return [line.strip() for line in packages], fix[len('Fix:  ') :]


def without(distributions, *names):
    return {name: version for name, version in distributions.items() if name not in names}


def row(name):
    return next(row for row in stack.stack_report() if row.name == name)


@pytest.mark.parametrize(
    ('distributions', 'needs'),
    [
        (ONEDL, 'torch==2.9.1'),
        (CLASSIC, 'torch (==2.1.2)'),
        (without(ONEDL, 'onedl-mmdetection'), 'torch==2.9.1'),
        ({**ONEDL, 'torch': '2.14.0+cu130', 'torchvision': '0.29.0+cu130'}, 'torch==2.14.0'),
        ({**without(CLASSIC, 'mmcv-lite'), 'mmcv': '2.1.0'}, 'torch==2.1.2'),
    ],
)
def test_a_supported_stack_passes(pretend, distributions, needs):
    pretend(distributions, torchvision_needs=needs)
    stack.check_stack()
    assert [row.name for row in stack.stack_report() if not row.ok or row.fix] == []


def test_nothing_installed(pretend):
    pretend({})
    packages, fix = complaint()
    assert packages == [
        'torch: got nothing, expected >=2.1',
        'torchvision: got nothing, expected >=0.16',
        'mmengine: got nothing, expected >=0.10.7,<1',
        'mmcv: got nothing, expected >=2.1.0,<2.4',
        'mmpretrain: got nothing, expected >=1.2.0,<2',
    ]
    assert fix == ONEDL_LINE.replace('install', 'install "torch>=2.1" "torchvision"')
    assert row('mmdet').ok


def test_one_missing_in_either_family(pretend):
    pretend(without(ONEDL, 'onedl-mmpretrain', 'onedl-mmdetection'))
    assert complaint() == (['mmpretrain: got nothing, expected >=1.2.0,<2'], ONEDL_LINE)
    pretend(without(CLASSIC, 'mmpretrain'), torchvision_needs='torch==2.1.2')
    assert complaint() == (['mmpretrain: got nothing, expected >=1.2.0,<2'], CLASSIC_LINE)


def test_unsupported_versions(pretend):
    pretend({**CLASSIC, 'mmpretrain': '1.0.0rc8', 'mmengine': '0.9.1'}, torchvision_needs='torch==2.1.2')
    expected = [
        'mmengine: got 0.9.1 (mmengine), expected >=0.10.7,<1',
        'mmpretrain: got 1.0.0rc8 (mmpretrain), expected >=1.2.0,<2',
    ]
    assert complaint() == (expected, CLASSIC_LINE)


def test_old_mmcv_full_is_replaced(pretend):
    pretend({**without(CLASSIC, 'mmcv-lite'), 'mmcv-full': '1.7.2'}, torchvision_needs='torch==2.1.2')
    packages, fix = complaint()
    assert packages == ['mmcv: got 1.7.2 (mmcv-full), expected >=2.1.0,<2.4']
    assert fix == f'pip uninstall -y mmcv-full && {CLASSIC_LINE}'


def test_compiled_mmcv_stays(pretend):
    pretend({**without(CLASSIC, 'mmcv-lite', 'mmpretrain'), 'mmcv': '2.1.0'}, torchvision_needs='torch==2.1.2')
    assert complaint()[1] == CLASSIC_LINE.replace('"mmcv-lite>=2.1.0,<2.2" ', '')


def test_both_families_at_once(pretend):
    pretend({**without(ONEDL, 'onedl-mmdetection'), 'mmengine': '0.10.7'})
    packages, fix = complaint()
    assert packages == ['mmengine: got onedl-mmengine 0.10.12 and mmengine 0.10.7, which overwrite each other, '
                        'expected one of them']  # fmt: skip
    assert fix == f'pip uninstall -y onedl-mmengine mmengine && {ONEDL_LINE}'


def test_classic_on_a_python_that_it_lacks(pretend):
    pretend(without(CLASSIC, 'mmpretrain', 'mmdet'), python=(3, 12), torchvision_needs='torch==2.1.2')
    assert complaint()[1] == f'pip uninstall -y mmengine mmcv-lite && {ONEDL_LINE}'


@pytest.mark.parametrize(
    ('name', 'version', 'expected'),
    [
        ('numpy', '2.2.6', '<2: the classic stack is built for NumPy 1'),
        ('opencv-python', '4.12.0.88', '<4.12: later versions need NumPy 2'),
        ('setuptools', '81.0.0', '<81: mmengine imports pkg_resources, which later versions lack'),
    ],
)
def test_traps_of_the_classic_stack(pretend, name, version, expected):
    pretend({**CLASSIC, name: version}, torchvision_needs='torch==2.1.2')
    assert complaint() == ([f'{name}: got {version} ({name}), expected {expected}'], CLASSIC_LINE)


def test_headless_opencv_is_limited_too(pretend):
    pretend({**CLASSIC, 'opencv-python-headless': '4.13.0.1'}, torchvision_needs='torch==2.1.2')
    assert complaint()[1] == f'{CLASSIC_LINE} "opencv-python-headless<4.12"'


@pytest.mark.parametrize(
    ('distributions', 'needs', 'fine', 'limit'),
    [(ONEDL, 'torch==2.9.1', '4.57.6', '<5'), (CLASSIC, 'torch==2.1.2', '4.46.3', '<4.52')],
    ids=['onedl', 'classic'],
)
def test_transformers_is_optional_but_not_any(pretend, distributions, needs, fine, limit):
    pretend({**distributions, 'transformers': fine}, torchvision_needs=needs)
    stack.check_stack()
    assert row('transformers').ok
    pretend({**distributions, 'transformers': '5.0.0'}, torchvision_needs=needs)
    packages, fix = complaint()
    reason = 'mmpretrain cannot be imported with later versions'
    assert packages == [f'transformers: got 5.0.0 (transformers), expected {limit}: {reason}']
    assert fix == f'pip install "transformers{limit}"'


def test_torchvision_of_another_torch(pretend):
    pretend({**ONEDL, 'torch': '2.10.0+cpu'})
    packages, fix = complaint()
    assert packages == ['torchvision: got 0.24.1, made for torch 2.9.1, expected the one for torch 2.10.0+cpu']
    assert fix == 'pip install "torch==2.10.0" "torchvision"'


def test_module_that_its_distribution_lost(pretend):
    pretend(without(ONEDL, 'onedl-mmdetection'), hidden=['mmcv'])
    packages, fix = complaint()
    assert packages == ['mmcv: got onedl-mmcv 2.3.6, but Python cannot find the module, expected >=2.1.0,<2.4']
    # Without the uninstall, pip would keep what is installed.
    assert fix == f'pip uninstall -y onedl-mmcv && {ONEDL_LINE}'


def test_mmdet_never_blocks_the_import(pretend):
    pretend({**CLASSIC, 'mmdet': '2.28.2'}, torchvision_needs='torch==2.1.2')
    stack.check_stack()
    assert not row('mmdet').ok
    assert row('mmdet').fix == CLASSIC_LINE


def test_original_mmdet_refuses_mmcv_2_2(pretend):
    pretend({**without(CLASSIC, 'mmcv-lite'), 'mmcv': '2.2.0'}, torchvision_needs='torch==2.1.2')
    stack.check_stack()
    assert row('mmdet').expected == 'mmcv<2.2 with this mmdet'
    assert row('mmdet').fix.startswith('pip uninstall -y mmcv')
    assert '"mmcv-lite>=2.1.0,<2.2"' in row('mmdet').fix


def test_compiled_operators_are_seen(pretend, tmp_path):
    pretend(ONEDL, folder=tmp_path)
    assert row('mmcv._ext').note.startswith('absent: aemim_mm.det serves those of Mask R-CNN')
    (tmp_path / '_ext.cpython-311-x86_64-linux-gnu.so').touch()
    assert row('mmcv._ext').note == 'compiled'


def test_the_client_of_onedl_is_optional(pretend):
    pretend(ONEDL)
    assert row('onedl').ok and row('onedl').note.startswith('absent: only data sets on the OneDL platform')
    pretend(CLASSIC, torchvision_needs='torch==2.1.2')
    assert 'onedl' not in {row.name for row in stack.stack_report()}


def test_a_source_tree_on_the_path_counts(pretend, tmp_path):
    (tmp_path / 'version.py').write_text("__version__ = '1.2.0'\n")
    pretend(ONEDL, folder=tmp_path)
    stack.metadata.version = lambda name, known=stack.metadata.version: known(
        '?' if name.endswith('pretrain') else name
    )
    assert row('mmpretrain')[:5] == ('mmpretrain', 'no distribution', '1.2.0', '>=1.2.0,<2', True)


def test_the_real_environment_passes():
    stack.check_stack()


def test_import_without_mmpretrain_gives_the_one_message(tmp_path):
    code = "import sys; sys.modules['mmpretrain'] = None; import aemim_mm"
    env = {**os.environ, 'PYTHONPATH': str(Path(stack.__file__).parents[1])}
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert run.returncode == 1
    message = run.stderr[run.stderr.index('ImportError: ') :].splitlines()
    assert message[0] == 'ImportError: aemim_mm cannot run on what is installed:'
    assert message[1].startswith('  mmpretrain: got ') and 'Python cannot find the module' in message[1]
    assert message[2].startswith('Fix:  pip uninstall -y ') and 'mmpretrain>=' in message[2]
    assert len(message) == 3


def test_the_check_imports_nothing_heavy():
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location('stack', {stack.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.check_stack()
print(sorted({{'torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'numpy'}} & set(sys.modules)))"""
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == '[]'
