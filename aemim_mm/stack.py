"""Check the versions of the installed packages without importing them, so that a fault gives one line, not a traceback.

Two families of distributions provide the same modules: the OneDL forks (``onedl-mmcv``) and OpenMMLab's originals
(``mmcv``). This file needs the standard library only, because ``tools/doctor.py`` loads it alone.
"""

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Module(NamedTuple):
    """A module that the package imports, and the distributions that provide it."""

    name: str
    expected: str  # the supported versions
    distributions: tuple  # they overwrite each other's files
    onedl: str  # the requirement that installs the module, in each family
    openmmlab: str
    required: bool = True


class Row(NamedTuple):
    """The result of the check for one package."""

    name: str
    distribution: str
    version: str
    expected: str
    ok: bool
    required: bool = True
    note: str = ''
    fix: str = ''  # the command that repairs the stack; empty where ``ok``


# mmengine 0.10.7 cannot resume with torch >= 2.6, which loads checkpoints with weights_only=True.
TORCH = Module('torch', '>=2.1', ('torch',), 'torch>=2.1', 'torch>=2.1,<2.6')
TORCHVISION = Module('torchvision', '>=0.16', ('torchvision',), 'torchvision', 'torchvision')
MM_MODULES = (
    Module(
        'mmengine', '>=0.10.7,<1', ('onedl-mmengine', 'mmengine'), 'onedl-mmengine>=0.10.12,<1', 'mmengine>=0.10.7,<1'
    ),
    Module(
        'mmcv',
        '>=2.1.0,<2.4',
        ('onedl-mmcv', 'mmcv-lite', 'mmcv', 'mmcv-full'),
        'onedl-mmcv>=2.3.6,<2.4',
        'mmcv-lite>=2.1.0,<2.2',
    ),
    Module(
        'mmpretrain',
        '>=1.2.0,<2',
        ('onedl-mmpretrain', 'mmpretrain'),
        'onedl-mmpretrain>=1.3.6,<2',
        'mmpretrain>=1.2.0,<2',
    ),
    Module(
        'mmdet', '>=3.3.0,<4', ('onedl-mmdetection', 'mmdet'), 'onedl-mmdetection>=3.5.1,<4', 'mmdet>=3.3.0,<4', False
    ),
)
# Limits for OpenMMLab's originals, which date from 2024: distribution, supported versions, reason.
CLASSIC_LIMITS = (
    ('numpy', '<2', 'the classic stack is built for NumPy 1'),
    ('opencv-python', '<4.12', 'later versions need NumPy 2'),
    ('setuptools', '<81', 'mmengine imports pkg_resources, which later versions lack'),
    ('opencv-python-headless', '<4.12', 'later versions need NumPy 2'),
)
# Limits for transformers, which is optional: mmpretrain imports functions that later versions removed.
TRANSFORMERS_LIMITS = {'onedl': '<5', 'openmmlab': '<4.52'}
NOT_INSTALLED = 'no distribution'  # the module is on Python's path, as in a source tree


def check_stack() -> None:
    """Raise one error that names all faults of the required packages, and the command that repairs them.

    Raises:
        ImportError: A required package is missing, unsupported, or installed twice. Optional packages never raise.
    """
    bad = [row for row in stack_report() if row.required and not row.ok]
    if bad:
        lines = [f'  {row.name}: got {got(row)}, expected {row.expected}' for row in bad]
        raise ImportError('\n'.join(['aemim_mm cannot run on what is installed:', *lines, f'Fix:  {bad[0].fix}']))


def got(row: Row) -> str:
    """Describe the installed version of a package in a few words."""
    return row.note if row.note and not row.ok else f'{row.version} ({row.distribution})'


def stack_report() -> list[Row]:
    """Return one ``Row`` for each package, torch first. The fix of a failing row repairs the whole stack."""
    installed = {module.name: _installed(*module.distributions) for module in (TORCH, TORCHVISION, *MM_MODULES)}
    classic = _is_classic(installed)
    # The repair keeps the installed family, where that supports this Python.
    family = 'openmmlab' if classic and sys.version_info[:2] in ((3, 10), (3, 11)) else 'onedl'
    rows = [_module_row(module, installed[module.name]) for module in (TORCH, TORCHVISION, *MM_MODULES)]
    rows = [_paired_torchvision(row, rows[0]) if row.name == 'torchvision' else row for row in rows]
    rows = [_paired_mmdet(row, rows) if row.name == 'mmdet' else row for row in rows]
    rows += _optional_rows(classic)
    expected = TRANSFORMERS_LIMITS['openmmlab' if classic else 'onedl']
    limits = [('transformers', expected, 'mmpretrain cannot be imported with later versions')]
    limits += CLASSIC_LIMITS if classic else ()
    rows += [row for limit in limits if (row := _limit_row(*limit))]
    fix = _fix_line(rows, installed, family)
    return [row if row.ok else row._replace(fix=fix) for row in rows]


def _module_row(module, found):
    """Check a module, given its installed distributions: name to version."""
    name, version = next(iter(found.items()), ('', ''))
    row = Row(module.name, name, version, module.expected, ok=False, required=module.required)
    spec = find_spec(module.name)
    if len(found) > 1:
        both = ' and '.join(f'{name} {version}' for name, version in found.items())
        return row._replace(note=f'{both}, which overwrite each other', expected='one of them')
    if spec is None and found:
        return row._replace(note=f'{name} {version}, but Python cannot find the module')
    if spec is None:
        note = 'nothing' if module.required else 'optional: only detection needs it'
        return row._replace(ok=not module.required, note=note)
    if not found:
        version = _source_version(spec)
        row = row._replace(distribution=NOT_INSTALLED, version=version or 'unknown version')
    return row._replace(ok=_inside(version, module.expected))


def _paired_torchvision(row, torch):
    """Fail a torchvision that was built for another torch: its compiled code would not load."""
    if not row.ok or not torch.ok or row.distribution == NOT_INSTALLED:
        return row
    needs = re.search(r'torch\s*\(?==\s*([\d.]+)', ' ; '.join(metadata.requires('torchvision') or []))
    if not needs or _release(needs[1])[:2] == _release(torch.version)[:2]:
        return row
    note = f'{row.version}, made for torch {needs[1]}'
    return row._replace(ok=False, note=note, expected=f'the one for torch {torch.version}')


def _paired_mmdet(row, rows):
    """Fail an original mmdet beside an mmcv of 2.2 or later, which that mmdet refuses."""
    mmcv = next(other for other in rows if other.name == 'mmcv')
    if row.distribution != 'mmdet' or not row.ok or not mmcv.ok or _inside(mmcv.version, '<2.2'):
        return row
    return row._replace(ok=False, note=f'{row.version} with mmcv {mmcv.version}', expected='mmcv<2.2 with this mmdet')


def _optional_rows(classic):
    """Report mmcv's compiled operators and OneDL's client, whose absence some mm* packages announce. No row fails."""
    spec = find_spec('mmcv')
    folders = (spec.submodule_search_locations or []) if spec else []
    compiled = any(path.suffix in ('.so', '.pyd') for folder in folders for path in Path(folder).glob('_ext*'))
    missing = 'absent: aemim_mm.det serves those of Mask R-CNN; line NMS and deformable attention need compiled ones'
    row = Row('mmcv._ext', '', '', 'optional', ok=True, required=False, note='compiled' if compiled else missing)
    missing = 'absent: only data sets on the OneDL platform need it'
    return [row] if classic else [row, row._replace(name='onedl', note='there' if find_spec('onedl') else missing)]


def _limit_row(name, expected, reason):
    """Check a package that the originals limit. Return None where it is absent and pip brings it with another."""
    version = _installed(name).get(name, '')
    if not version:
        return Row(name, '', '', expected, ok=False, note='nothing') if name == 'setuptools' else None
    ok = _inside(version, expected)
    return Row(name, name, version, expected if ok else f'{expected}: {reason}', ok=ok)


def _is_classic(installed):
    """Return whether the mm* packages are OpenMMLab's originals."""
    names = {name for module in MM_MODULES for name in installed[module.name]}
    return bool(names) and not any(name.startswith('onedl-') for name in names)


def _fix_line(rows, installed, family):
    """Return the command after which each module has exactly one distribution, of a supported version."""
    rows = {row.name: row for row in rows}
    remove, install = [], []
    for module in (TORCH, TORCHVISION):
        if not rows[module.name].ok:
            install.append(getattr(module, family))
    if rows['torch'].ok and not rows['torchvision'].ok:
        # With torch pinned, pip chooses the torchvision that was built for it.
        release = rows['torch'].version.split('+')[0]
        install.insert(0, f'torch=={release}')
    if 'transformers' in rows and not rows['transformers'].ok:
        install.append(f'transformers{TRANSFORMERS_LIMITS[family]}')
    alone = ('torch', 'torchvision', 'transformers')  # their repair leaves the mm* packages alone
    stack_is_fine = all(row.ok for row in rows.values() if row.name not in alone)
    for module in () if stack_is_fine else MM_MODULES:
        row, requirement = rows[module.name], getattr(module, family)
        wanted = re.findall(r'[\w-]+', requirement)[0]
        names = list(installed[module.name])
        if not names and not row.required:
            continue
        if row.ok and rows['mmdet'].ok and names != [wanted] and family == 'openmmlab':
            continue  # keep a compiled mmcv of a supported version
        # pip keeps a distribution of the right version even where its files are lost or overwritten: remove it first.
        broken = not row.ok and _inside(row.version, module.expected)
        if names not in ([], [wanted]) or (names and broken):
            remove += names
        install.append(requirement)
    if not stack_is_fine and family == 'openmmlab':
        optional = 'opencv-python-headless'
        install += [f'{name}{limit}' for name, limit, _ in CLASSIC_LIMITS if name != optional or name in rows]
    uninstall = f'pip uninstall -y {" ".join(remove)} && ' if remove else ''
    return uninstall + 'pip install ' + ' '.join(f'"{requirement}"' for requirement in install)


def _installed(*names):
    """Return the versions of those distributions that are installed: name to version."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name) or '0'
        except metadata.PackageNotFoundError:
            continue
    return found


def _source_version(spec):
    """Read the version of a source tree that is on Python's path without being installed."""
    for folder in spec.submodule_search_locations or []:
        path = Path(folder, 'version.py')
        match = path.is_file() and re.search(r"""__version__ = ['"]([\d.]+)""", path.read_text(encoding='utf-8'))
        if match:
            return match[1]
    return ''


def _release(version):
    """Convert ``2.9.1+cu128`` to (2, 9, 1). No supported range names a pre-release."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(part) for part in match[0].split('.')) if match else ()


def _inside(version, expected):
    """Return whether ``version`` is inside a range such as ``>=2.1.0,<2.4``."""
    for limit in expected.split(','):
        sign, bound = re.findall(r'(>=|<)(.+)', limit)[0]
        width = max(len(_release(version)), len(_release(bound)))
        left, right = (release + (0,) * (width - len(release)) for release in (_release(version), _release(bound)))
        if (left >= right) != (sign == '>='):
            return False
    return True
