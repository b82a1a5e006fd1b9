"""Records: JSON files with measured values and everything that is needed to measure them again."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..version import __version__
from .machine import machine_facts

ROOT = Path(__file__).resolve().parents[2]
FIELDS = ('command', 'config', 'seed', 'date', 'commit', 'dirty', 'machine', 'versions', 'values')
# A record names the versions of those that are imported.
PACKAGES = ('numpy', 'torch', 'mmengine', 'mmpretrain', 'mmdet', 'transformers', 'lightly', 'foolbox', 'pyautoattack')
HERE = '/<repository>'  # stands for ROOT
# Absolute paths, also in ``key=/path`` and ``config.py:/path``; not the slashes of a URL or a relative path.
ABSOLUTE_PATH = re.compile(r'(?<![\w./~-])/(?!/)[^\s\'",:=]+')


def write_record(path: str | os.PathLike, values: dict, *, config: Any = None, seed: Any = None) -> dict:
    """Write measured values, with the circumstances of the measurement.

    Absolute paths become relative to the repository. From paths elsewhere, only the last part stays.

    Args:
        path: The JSON file. Its folder is made if it is missing.
        values: The measured values, nested dicts and lists of what JSON knows.
        config: The config file or files, with options if there are any.
        seed: The seed or seeds of the measurement.

    Returns:
        The record, with the keys ``FIELDS``.
    """
    record = dict(
        command=_command(),
        config=config,
        seed=seed,
        date=datetime.now(timezone.utc).date().isoformat(),
        **_commit(),
        machine=machine_facts(),
        versions=_versions(),
        values=values,
    )
    record = _without_absolute_paths(record)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, default=float) + '\n', encoding='utf-8')
    return record


def read_record(path: str | os.PathLike) -> dict:
    """Read a record.

    Returns:
        A dict with the keys ``FIELDS``.

    Raises:
        UserError: The file is missing or is not a record.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as a record: {error}. Write it with --record.') from error
    missing = [field for field in FIELDS if field not in record]
    if missing:
        raise UserError(
            f'{path} is not a record: it lacks {", ".join(missing)}. Write it with --record of the tool that measures.'
        )
    return record


def code_version() -> str:
    """Return the version of this package and, in a checkout, the commit, such as ``aemim-mm 0.1.0, commit 2d3d893``."""
    found = _commit()
    commit = f', commit {found["commit"][:10]}' if found['commit'] else ''
    return f'aemim-mm {__version__}{commit}{" with changes" if found["dirty"] else ""}'


def _command() -> str:
    script = _without_absolute_paths(os.path.abspath(sys.argv[0]))
    return shlex.join(['python', script, *map(_without_absolute_paths, sys.argv[1:])])


def _commit() -> dict:
    """The commit of the code, and whether Python files or requirements differ from it; None outside a checkout."""
    if not (ROOT / '.git').exists():
        return dict(commit=None, dirty=None)
    status = _git('status', '--porcelain', '--', '*.py', 'requirements')
    return dict(commit=_git('rev-parse', 'HEAD'), dirty=None if status is None else bool(status))


def _git(*args) -> str | None:
    try:
        done = subprocess.run(['git', '-C', str(ROOT), *args], capture_output=True, text=True)
    except OSError:  # git is not installed.
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict:
    versions = {'python': platform.python_version(), 'aemim-mm': __version__}
    for name in PACKAGES:
        version = getattr(sys.modules.get(name), '__version__', None)
        if version:
            versions[name] = str(version)
    return versions


def _without_absolute_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_absolute_paths(key): _without_absolute_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_absolute_paths(item) for item in value]
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        return value
    # The path of the repository may have spaces and commas, at which the pattern would end.
    value = re.sub(rf'{re.escape(str(ROOT))}(?![\w.-])', HERE, value)
    return ABSOLUTE_PATH.sub(_short_path, value)


def _short_path(match) -> str:
    path = Path(os.path.normpath(match[0]))
    return path.relative_to(HERE).as_posix() if path.is_relative_to(HERE) else path.name
