"""Changes of single config fields from the command line: ``KEY=VALUE``."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ..errors import UserError, did_you_mean

# Fields that are read outside the Runner's arguments.
OTHER_FIELDS = ('auto_scale_lr', 'compile', 'exact_resume', 'find_unused_parameters', 'runner_type')
OTHER_FIELDS += ('activation_checkpointing', 'efficient_conv_bn_eval', 'model_wrapper_cfg', 'sync_bn')
# Fields that are read before options are, or set by a flag, with the way that works.
WITHOUT_EFFECT = dict(custom_imports='Set it in the config.', launcher='Use the flag --launcher.')
# Fields that hold a path, in which a comma is a letter as any other.
PATHS = ('load_from', 'checkpoint', '_root', '_file', '_dir', '_path')


def merge_options(cfg: Config, options: Sequence[str]) -> None:
    """Change fields of a config.

    A value is a number, ``True``, ``False``, ``None``, a list ``[a,b]`` or ``a,b``, a tuple ``(a,b)``, a ``dict(a=b)``,
    or text. Text is kept as it is written, with its spaces. Quotes around a value, as in ``load_from='"a, b.pth"'``,
    make it text. ``data_preprocessor`` means ``model.data_preprocessor``.

    Args:
        cfg: The config, changed in place.
        options: ``KEY=VALUE``, where ``KEY`` is dotted, as in ``model.adv_weight=0.5``.

    Raises:
        UserError: An option has no ``=``, has unbalanced brackets, or does not fit the config.
    """
    wrong = [option for option in options if not option.partition('=')[0] or '=' not in option]
    if wrong:
        raise UserError(f'--cfg-options takes KEY=VALUE, as in model.adv_weight=0.5, but got {" ".join(wrong)}.')
    for option in options:
        key, _, value = option.partition('=')
        _check_key(cfg, key)
        if key.split('.')[0] == 'data_preprocessor' and cfg.get('model'):
            key = f'model.{key}'
        try:
            as_text = key.endswith(PATHS) or isinstance(_present(cfg, key), str)
            cfg.merge_from_dict({key: parse_value(value, as_text)})
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            reason = error.args[0] if error.args else error
            raise UserError(f'--cfg-options {option} does not fit the config: {reason}') from error


def parse_value(text: str, as_text: bool = False) -> Any:
    """Return the value of an option.

    Args:
        text: The part after ``=``.
        as_text: Whether commas without brackets are part of a text.

    Raises:
        UserError: The brackets are not balanced, or a dict has a value without a name.
    """
    short = text.strip()
    if len(short) > 1 and short[0] == short[-1] and short[0] in '\'"':
        return short[1:-1]
    for kind, brackets in ((tuple, '()'), (list, '[]')):
        if short[:1] == brackets[0] and short[-1:] == brackets[1]:
            return kind(parse_value(item) for item in _items(short[1:-1]))
    if short.startswith('dict(') and short.endswith(')'):
        return dict(_named(item) for item in _items(short[5:-1]))
    if ',' in short and '/' not in short and not as_text:
        items = list(_items(short))
        return [parse_value(item) for item in items] if len(items) > 1 else text
    # A number or a name; it does not change other text.
    value = DictAction._parse_int_float_bool(short)
    return text if isinstance(value, str) else value


def _named(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition('=')
    if not (equals and name.strip().isidentifier()):
        raise UserError(f'A dict in an option is written dict(name=value, ...), but got {item!r} in it.')
    return name.strip(), parse_value(value)


def _items(text: str) -> Iterator[str]:
    """Split at the commas that stand outside brackets and quotes."""
    depth, quote, start = 0, '', 0
    for place, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"':
            quote = letter
        elif letter in '([':
            depth += 1
        elif letter in ')]':
            depth -= 1
        elif letter == ',' and not depth:
            yield text[start:place].strip()
            start = place + 1
    if depth or quote:
        raise UserError(f'The brackets or quotes of the option value {text!r} are not balanced.')
    if text[start:].strip():
        yield text[start:].strip()


def _check_key(cfg: Config, key: str) -> None:
    """Refuse a field of the config's top level that nothing reads, or not from an option."""
    name = key.split('.')[0]
    if name in WITHOUT_EFFECT:
        raise UserError(f'--cfg-options {key} has no effect. {WITHOUT_EFFECT[name]}')
    known = {*cfg.keys(), *inspect.signature(Runner.__init__).parameters, *OTHER_FIELDS} - {'self'}
    if name not in known:
        raise UserError(
            f'--cfg-options {key}: the config has no field {name}, and nothing reads it.{did_you_mean(name, known)}'
        )


def _present(cfg: Any, key: str) -> Any:
    """Return the value that a dotted field has now, or None."""
    for name in key.split('.'):
        if isinstance(cfg, (list, tuple)) and name.isdecimal() and int(name) < len(cfg):
            cfg = cfg[int(name)]
        else:
            cfg = cfg.get(name) if isinstance(cfg, (dict, Config)) else None
    return cfg
