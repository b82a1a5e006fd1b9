"""Numbers of a config that are out of their range."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config

from ..attacks.pixels import is_number
from ..errors import UserError


def _whole(least: int) -> tuple[str, Callable]:
    return f'a whole number >= {least}', lambda value: value >= least and (math.isinf(value) or value == int(value))


SHARE = 'a number >= 0 and < 1', lambda value: 0 <= value < 1
INSIDE = 'a number > 0 and < 1', lambda value: 0 < value < 1
LENGTH = 'a number >= 0', lambda value: 0 <= value < math.inf
POSITIVE = 'a number > 0', lambda value: 0 < value < math.inf

# The part of the config, the last name of the field, and the range of its number or numbers. Other names are checked by
# the classes that take them.
RANGES = {
    ('optim_wrapper', 'lr'): LENGTH,
    ('optim_wrapper', 'weight_decay'): LENGTH,
    ('optim_wrapper', 'max_norm'): POSITIVE,
    ('optim_wrapper', 'accumulative_counts'): _whole(1),
    ('dataloader', 'batch_size'): _whole(1),
    ('dataloader', 'num_workers'): _whole(0),
    ('dataloader', 'prefetch_factor'): _whole(1),
    ('dataloader', 'mask_ratio'): INSIDE,
    ('dataloader', 'input_size'): _whole(1),
    ('dataloader', 'mask_patch_size'): _whole(1),
    ('dataloader', 'model_patch_size'): _whole(1),
    ('randomness', 'seed'): _whole(0),
    ('log_processor', 'window_size'): _whole(1),
    ('train_cfg', 'max_epochs'): _whole(1),
    ('train_cfg', 'max_iters'): _whole(1),
    ('train_cfg', 'val_interval'): _whole(1),
    ('model', 'mask_ratio'): INSIDE,
    ('model', 'drop_path_rate'): SHARE,
    ('model', 'img_size'): _whole(1),
    ('model', 'patch_size'): _whole(1),
    ('data_preprocessor', 'std'): POSITIVE,
}


def check_ranges(cfg: Config) -> None:
    """Check the numbers of a config whose faults OpenMMLab and torch would find late, unclearly or not at all.

    Raises:
        UserError: A number is out of its range, or is no number.
    """
    for top, part in cfg.items():
        for field, value in _numbers(part, top):
            *_, name = field.split('.')
            holder = 'data_preprocessor' if 'data_preprocessor' in field else top.split('_')[-1]
            expected = RANGES.get((top, name)) or RANGES.get((holder, name))
            if expected is None or value is None:
                continue
            words, fits = expected
            values = value if isinstance(value, (list, tuple)) else [value]
            if not all(is_number(one) and fits(one) for one in values):
                raise UserError(f'{field} is {words}, but got {value!r}. Change it with --cfg-options {field}=VALUE.')


def _numbers(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field that is no dict."""
    if isinstance(tree, dict):
        for name, item in tree.items():
            yield from _numbers(item, f'{path}.{name}')
    elif isinstance(tree, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in tree):
        for number, item in enumerate(tree):
            yield from _numbers(item, f'{path}.{number}')
    else:
        yield path, tree
