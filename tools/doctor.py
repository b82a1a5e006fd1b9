#!/usr/bin/env python
"""Check the installed stack and name the fix for each fault. Exit code 0: healthy; 1: not.

Run:       python tools/doctor.py
Duration:  20 seconds; two tenths of a second with --no-import
"""

import argparse
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

HERE = Path(__file__)
IMPORTS = ('mmengine', 'mmcv', 'mmpretrain', 'aemim_mm', 'mmdet')
# What a bug report tells of the environment.
VARIABLES = re.compile('CUDA_|NCCL_|GLOO_|TORCH_|PYTORCH_|OMP_|MKL_|SLURM_(NNODES|NTASKS)')
# aemim_mm.det serves the operators of mmcv that mmdet needs at import.
REAL = {'mmdet': ('aemim_mm.det', 'mmdet.models')}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Check the installed stack and name the fix for each fault.')
    parser.add_argument('--no-import', action='store_true', help='compare versions only; import nothing')
    parser.add_argument('--report', action='store_true', help='as Markdown, for a bug report, without paths')
    return parser.parse_args(argv)


def load_stack():
    """Load aemim_mm/stack.py by its path, because ``import aemim_mm`` may fail."""
    # In a checkout this file is tools/doctor.py; in an installed package, aemim_mm/.mim/tools/doctor.py.
    candidates = [HERE.resolve().parents[1] / 'aemim_mm/stack.py', *[up / 'stack.py' for up in HERE.absolute().parents]]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        sys.exit('error: cannot find aemim_mm/stack.py. Run the doctor.py of a checkout or of an installed aemim-mm.')
    spec = importlib.util.spec_from_file_location('aemim_mm_stack', path)
    assert spec is not None and spec.loader is not None  # The name of a Python file has a loader.
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def print_table(rows):
    """Print a line for each package: mark, name, version, distribution, supported versions, note."""
    table = [('', 'package', 'version', 'distribution', 'expected')]
    table += [(mark(row), row.name, row.version or '-', row.distribution or '-', row.expected) for row in rows]
    widths = [max(len(line[column]) for line in table) for column in range(5)]
    for line, note in zip(table, ['', *[row.note for row in rows]]):
        cells = '  '.join(cell.ljust(width) for cell, width in zip(line, widths))
        print(f'{cells}  {note}'.rstrip())


def mark(row):
    """Return FAIL, ok, or a dash for what is optional and absent."""
    return 'FAIL' if not row.ok else 'ok' if row.version else '-'


def print_devices():
    """Print the devices that torch sees, and whether they support bfloat16, the default of mixed precision."""
    try:
        import torch
    except Exception as error:  # a broken torch fails in many ways; the table names the fix
        print(f'torch cannot be imported: {first_line(error)}')
        return
    for index in range(torch.cuda.device_count()):
        name, memory = torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory
        bf16 = 'yes' if torch.cuda.get_device_capability(index) >= (8, 0) else 'no; docs/usage.md, --amp, has float16'
        print(f'cuda:{index}: {name}, {memory / 2**30:.0f} GiB, bfloat16: {bf16}')
    if not torch.cuda.is_available():
        print(f'cuda: none{"" if torch.version.cuda else " (this torch is built without it)"}')
    print(f'cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads, bfloat16: {cpu_bf16()}')


def cpu_bf16():
    """Describe how this CPU computes in bfloat16, from the flags that Linux lists."""
    try:
        flags = Path('/proc/cpuinfo').read_text().split()
    except OSError:
        return 'works, speed unknown'
    native = [flag for flag in ('amx_bf16', 'avx512_bf16', 'bf16') if flag in flags]
    return f'native ({native[0]})' if native else 'works, but emulated: fp32 is faster'


def try_imports(rows):
    """Import each package whose version is supported. Return the number of failures."""
    faults = 0
    sound = {row.name for row in rows if row.ok and row.version}
    if all(row.ok for row in rows if row.required):
        sound.add('aemim_mm')
    for name in IMPORTS:
        if name not in sound:
            continue  # the table names its fault
        try:
            for module in REAL.get(name, (name,)):
                importlib.import_module(module)
            print(f'ok    import {name}')
        except Exception as error:  # an import may raise anything
            faults += 1
            print(
                f'FAIL  import {name}: {type(error).__name__}: {first_line(error)}\n      fix: {import_fix(name, rows)}'
            )
    return faults


def import_fix(name, rows):
    """Return the command that installs a package anew. Its version is supported, so its files must be damaged."""
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        return '"pip install -e ." in a checkout of aemim-mm; if that is done, report this error'
    return f'pip install --force-reinstall --no-deps "{row.distribution}=={row.version}"'


def first_line(error):
    """Return the first line of an error's text, or its representation where it has none."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def print_origin(stack):
    """Print what a bug report needs beside the table: the version of this project, and the environment."""
    root = Path(stack.__file__).parent
    version = re.search(r"__version__ = '(.+)'", (root / 'version.py').read_text())
    try:
        git = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--tags']
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = 'not a git checkout'
    print(f'aemim-mm {version[1] if version else "unknown"}, {commit}')
    for name in sorted(filter(VARIABLES.match, os.environ)):
        value = os.environ[name]
        print(f'{name}={"(a path)" if os.sep in value else value}')


def main():
    args = parse_args()
    if args.report:
        print('```text')
    where = '' if args.report else f': {sys.executable}'
    print(f'Python {platform.python_version()} on {platform.system()} {platform.machine()}{where}')
    stack = load_stack()
    if args.report:
        print_origin(stack)
    rows = stack.stack_report()
    print_table(rows)
    faults = sum(not row.ok for row in rows)
    for fix in dict.fromkeys(row.fix for row in rows if row.fix):
        print(f'fix: {fix}')
    if not args.no_import:
        warnings.simplefilter('ignore')
        print()
        print_devices()
        print()
        faults += try_imports(rows)
    print('\nhealthy' if not faults else f'\n{faults} fault{"s" * (faults > 1)}: see the fix above')
    if args.report:
        print('```')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
