"""Check the installed stack without importing any of it, so that the answer is one line and not a traceback.

Two families of distributions provide the same modules: the OneDL forks (``onedl-mmcv``) and the originals by OpenMMLab
(``mmcv``). Pure standard library: ``tools/doctor.py`` loads this file alone, when ``import aemim_mm`` fails.
"""

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Module(NamedTuple):
    name: str
    expected: str
    distributions: tuple  # all that provide the module; they overwrite each other's files
    onedl: str = ''  # the requirement that installs it, for each family
    openmmlab: str = ''
    required: bool = True


class Row(NamedTuple):
    """What was found of one package. ``fix`` is a pip line, empty when nothing is to be done."""

    name: str
    distribution: str
    version: str
    expected: str
    ok: bool
    required: bool = True
    note: str = ''
    fix: str = ''


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
        'mmdet',
        '>=3.3.0,<4',
        ('onedl-mmdetection', 'mmdet'),
        'onedl-mmdetection>=3.5.1,<4',
        'mmdet>=3.3.0,<4',
        required=False,
    ),
)
# What the originals of 2024 do not survive: distribution, range, why.
CLASSIC_LIMITS = (
    ('numpy', '<2', 'the classic stack is built for NumPy 1'),
    ('opencv-python', '<4.12', 'later ones need NumPy 2'),
    ('opencv-python-headless', '<4.12', 'later ones need NumPy 2'),
    ('setuptools', '<81', 'mmengine imports pkg_resources, which later ones lack'),
)
# Where installed: mmpretrain imports functions that later ones removed, and then fails as a whole.
TRANSFORMERS_LIMITS = {'onedl': '<5', 'openmmlab': '<4.52'}
ALWAYS_LIMITED = ('numpy<2', 'opencv-python<4.12', 'setuptools<81')


def check_stack():
    """Raise one error that names everything missing, unsupported or in conflict, and the pip line that fixes it.

    Raises:
        ImportError: If a required package is not usable. Optional ones (mmdet) never raise.
    """
    bad = [row for row in stack_report() if row.required and not row.ok]
    if bad:
        lines = [f'  {row.name}: got {got(row)}, expected {row.expected}' for row in bad]
        raise ImportError('\n'.join(['aemim_mm cannot run on what is installed:', *lines, f'Fix:  {bad[0].fix}']))


def got(row):
    """Say in a few words what was found of a package."""
    return row.note if row.note and not row.ok else f'{row.version} ({row.distribution})'


def stack_report():
    """Return one ``Row`` for each package, torch first; every failing row carries the fix of the whole stack."""
    installed = {module.name: _installed(*module.distributions) for module in (TORCH, TORCHVISION, *MM_MODULES)}
    family = _family(installed)
    rows = [_module_row(module, installed[module.name]) for module in (TORCH, TORCHVISION, *MM_MODULES)]
    rows = [_paired_torchvision(row, rows[0]) if row.name == 'torchvision' else row for row in rows]
    rows = [_paired_mmdet(row, rows) if row.name == 'mmdet' else row for row in rows]
    rows += [_ops_row()]
    if _installed('transformers'):
        expected = TRANSFORMERS_LIMITS['openmmlab' if _is_classic(installed) else 'onedl']
        rows.append(_limit_row('transformers', expected, 'mmpretrain cannot be imported with later ones'))
    if _is_classic(installed):
        rows += [row for limit in CLASSIC_LIMITS if (row := _limit_row(*limit))]
    fix = _fix_line(rows, installed, family)
    return [row if row.ok else row._replace(fix=fix) for row in rows]


def _module_row(module, found):
    """Compare a module and the distributions that provide it with the supported range."""
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
        row = row._replace(distribution='no distribution', version=version or 'unknown version')
    return row._replace(ok=_inside(version, module.expected))


def _paired_torchvision(row, torch):
    """torchvision's compiled half loads only with the torch that it was built for."""
    needs = re.search(r'torch\s*\(?==\s*([\d.]+)', ' ; '.join(_requires('torchvision')))
    if not row.ok or not torch.ok or not needs or _release(needs[1])[:2] == _release(torch.version)[:2]:
        return row
    note = f'{row.version}, made for torch {needs[1]}'
    return row._replace(ok=False, note=note, expected=f'the one for torch {torch.version}')


def _paired_mmdet(row, rows):
    mmcv = next(other for other in rows if other.name == 'mmcv')
    if row.distribution != 'mmdet' or not row.ok or not mmcv.ok or _inside(mmcv.version, '<2.2'):
        return row
    return row._replace(ok=False, note=f'{row.version} with mmcv {mmcv.version}', expected='mmcv<2.2 with this mmdet')


def _ops_row():
    """mmcv's compiled operators are a matter of information: aemim_mm has a stand-in for those of Mask R-CNN."""
    spec = find_spec('mmcv')
    folders = (spec.submodule_search_locations or []) if spec else []
    there = any(path.suffix in ('.so', '.pyd') for folder in folders for path in Path(folder).glob('_ext*'))
    missing = 'absent: aemim_mm.det stands in for those of Mask R-CNN'
    return Row('mmcv._ext', '', '', 'optional', ok=True, required=False, note='compiled' if there else missing)


def _limit_row(name, expected, why):
    version = _installed(name).get(name, '')
    if not version:
        # Only setuptools must be there; pip brings NumPy and OpenCV with mmcv.
        return Row(name, '', '', expected, ok=False, note='nothing') if name == 'setuptools' else None
    ok = _inside(version, expected)
    return Row(name, name, version, expected if ok else f'{expected}: {why}', ok=ok)


def _family(installed):
    """The family to repair with: what is there already, as long as this Python runs it."""
    return 'openmmlab' if _is_classic(installed) and sys.version_info[:2] in ((3, 10), (3, 11)) else 'onedl'


def _is_classic(installed):
    names = {name for module in MM_MODULES for name in installed[module.name]}
    return bool(names) and not any(name.startswith('onedl-') for name in names)


def _fix_line(rows, installed, family):
    """One line that leaves exactly one supported distribution for each module."""
    rows = {row.name: row for row in rows}
    remove, install = [], []
    for module in (TORCH, TORCHVISION):
        if not rows[module.name].ok:
            install.append(getattr(module, family))
    if rows['torch'].ok and not rows['torchvision'].ok:
        # Pins torch, so that pip looks for the torchvision that belongs to it.
        release = rows['torch'].version.split('+')[0]
        install.insert(0, f'torch=={release}')
    if 'transformers' in rows and not rows['transformers'].ok:
        install.append(f'transformers{TRANSFORMERS_LIMITS[family]}')
    alone = ('torch', 'torchvision', 'transformers')  # Mended without a change to the others.
    stack_is_fine = all(row.ok for row in rows.values() if row.name not in alone)
    for module in () if stack_is_fine else MM_MODULES:
        row, requirement = rows[module.name], getattr(module, family)
        wanted = re.match(r'[\w-]+', requirement)[0]
        names = list(installed[module.name])
        if not names and not row.required:
            continue
        if row.ok and rows['mmdet'].ok and names != [wanted] and family == 'openmmlab':
            continue  # a compiled mmcv of a supported version stays
        # pip calls a distribution of the right version satisfied, also where another overwrote or lost its files.
        broken = not row.ok and _inside(row.version, module.expected)
        if names not in ([], [wanted]) or (names and broken):
            remove += names
        install.append(requirement)
    if not stack_is_fine and family == 'openmmlab':
        install += ALWAYS_LIMITED
        if 'opencv-python-headless' in rows:
            install.append('opencv-python-headless<4.12')
    uninstall = f'pip uninstall -y {" ".join(remove)} && ' if remove else ''
    return uninstall + 'pip install ' + ' '.join(f'"{requirement}"' for requirement in install)


def _installed(*names):
    """Map the names of the installed ones of ``names`` to their versions."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name) or '0'
        except metadata.PackageNotFoundError:
            continue
    return found


def _requires(name):
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _source_version(spec):
    """Read the version of a source tree that is on the path but was never installed."""
    for folder in spec.submodule_search_locations or []:
        path = Path(folder, 'version.py')
        match = path.is_file() and re.search(r"""__version__ = ['"]([\d.]+)""", path.read_text(encoding='utf-8'))
        if match:
            return match[1]
    return ''


def _release(version):
    """``2.9.1+cu128`` to (2, 9, 1): enough for ranges that name no pre-release."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(part) for part in match[0].split('.')) if match else ()


def _inside(version, expected):
    """Is ``version`` inside a range such as ``>=2.1.0,<2.4``?"""
    for limit in expected.split(','):
        sign, bound = re.match(r'(>=|<)(.+)', limit).groups()
        width = max(len(_release(version)), len(_release(bound)))
        left, right = (release + (0,) * (width - len(release)) for release in (_release(version), _release(bound)))
        if (left >= right) != (sign == '>='):
            return False
    return True
