"""Turn what goes wrong between a config file and a built Runner into one line that names the field."""

import inspect
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, Registry, build_from_cfg
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import BaseVisBackend

from ..errors import UserError, did_you_mean

# What wrong values of a config raise in the classes that are built from it. Other exceptions are bugs.
WRONG_VALUE = (KeyError, TypeError, ValueError, AttributeError, AssertionError, ImportError)
FIX = 'Correct it in the config or with --cfg-options.'


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn an exception of a config file's own code, or of its format, into a UserError."""
    try:
        yield
    except UserError:
        raise
    # A config file is a program, so it can raise anything.
    except Exception as error:
        raise UserError(f'The config {path} cannot be read: {_place(error, path)}{_reason(error)}.') from error


def _place(error: Exception, path: str) -> str:
    """Return the line of the config file that raised an exception, if a line did."""
    if isinstance(error, SyntaxError):
        return f'line {error.lineno}: '
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(path)]
    return f'line {lines[-1]}: ' if lines else ''


def _reason(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error.args[0] if len(error.args) == 1 else error)
    return f'{type(error).__name__}: {" ".join(text.split()).rstrip(".")}'


@contextmanager
def building(cfg: Config) -> Iterator[None]:
    """Turn the failure to build a part of a config into a UserError that names the part's field.

    An exception that no building of a part raised passes unchanged, and so does any type not in ``WRONG_VALUE``.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        parts = [part for frame in frames if (part := _part(frame))]
        # Each logging backend has exceptions of its own.
        logging = any(frame.f_code.co_filename == inspect.getfile(BaseVisBackend) for frame in frames)
        # Runner itself raises a RuntimeError for fields that exclude each other.
        by_runner = frames[-1].f_code.co_filename == inspect.getfile(Runner)
        if not parts or not (logging or by_runner or isinstance(error, WRONG_VALUE)):
            raise
        if logging:
            parts.append(('visualizer.vis_backends', None, None))
        fields = (field for _, part, _ in reversed(parts) if (field := _field(cfg, part)))
        name, part, registry = parts[-1]
        fault = _fault(error, next(fields, name), part, registry)
        raise UserError(f'The config {cfg.filename or ""}: {fault} {FIX}'.replace(' :', ':')) from error


def _part(frame) -> tuple | None:
    """Return the name, the config and the registry of the part that a stack frame builds, or None."""
    name, values = frame.f_code.co_name, frame.f_locals
    if frame.f_code.co_filename == inspect.getfile(build_from_cfg) and {'cfg', 'registry'} <= set(values):
        return 'a part', values['cfg'], values['registry']
    if frame.f_code.co_filename == inspect.getfile(Runner):
        if name in ('__init__', 'from_cfg'):
            return 'a field', None, None  # of the top level
        if name.startswith(('build_', 'setup_', 'set_', 'register_', 'scale_')):
            arguments = [
                values[name] for name in frame.f_code.co_varnames[: frame.f_code.co_argcount] if name in values
            ]
            configs = [value for value in arguments if isinstance(value, (dict, list))]
            return name.split('_', 1)[1], next(iter(configs), None), None
    return None


def _fault(error: Exception, field: str, part: Any, registry: Registry | None) -> str:
    """Say which field is wrong, what it has, and which names are near."""
    kind = part.get('type') if isinstance(part, dict) else None
    if registry is not None and kind is None:
        return f'{field} has no type: got {part!r}.'
    # mmengine asks for the arguments of an optimizer's class without looking whether it found one.
    no_optimizer = str(error).startswith('None is not a callable') and 'optimizer' in (part or ())
    if no_optimizer:
        field, registry, kind = f'{field}.optimizer', OPTIMIZERS, part['optimizer'].get('type')
    if registry is not None and (no_optimizer or f'{kind} is not in the' in str(error)):
        near = did_you_mean(str(kind), _names(registry))
        return f"{field}.type: there is no '{kind}' ({registry.scope}'s registry '{registry.name}').{near}"
    name = getattr(kind, '__name__', kind)
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown and part:
        found = registry.get(kind) if registry is not None and isinstance(kind, str) else kind
        near = did_you_mean(unknown[1], arguments_of(found) if found else set(part) - {unknown[1]})
        return f'{field}.{unknown[1]}: {name or field} takes no such field.{near}'
    return f'{field}{f" ({name})" if name else ""} has a wrong value: {_reason(error)}.'


def _names(registry: Registry) -> set:
    """Return all names that a registry and its relatives know, those of other scopes with their scope."""
    root = registry
    while root.parent is not None:
        root = root.parent
    names = set(registry.module_dict) | set(root.module_dict)
    others = [each for each in root.children.values() if each is not registry]
    return names.union(*({f'{each.scope}.{name}' for name in each.module_dict} for each in others))


def arguments_of(found: Any) -> set:
    """Return the names of the arguments that a class and its bases take."""
    classes = inspect.getmro(found)[:-1] if inspect.isclass(found) else [found]
    return {name for each in classes for name in inspect.signature(each).parameters}


def _field(cfg: Config, part: Any) -> str | None:
    """Find a part in a config by its content, and return its dotted name."""
    fields = list(_fields(cfg, ''))
    for same in (_equal, _within):
        for name, value in fields:
            if same(value, part):
                return name
    return None


def _fields(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    items = tree.items() if isinstance(tree, (dict, Config)) else enumerate(tree)
    for name, item in items:
        if item and isinstance(item, (dict, list, tuple)):
            field = f'{path}.{name}' if path else str(name)
            yield field, item
            yield from _fields(item, field)


def _equal(value: Any, part: Any) -> bool:
    return value is part or (type(value) is type(part) and value == part)


def _within(value: Any, part: Any) -> bool:
    """Whether a part is a field's value with more arguments, which the code added."""
    return (
        isinstance(value, dict)
        and isinstance(part, dict)
        and 'type' in value
        and all(name in part and _equal(part[name], item) for name, item in value.items())
    )
