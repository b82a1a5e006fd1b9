"""What a checkpoint may name, and an unpickler for torch before 2.6 that finds nothing else."""

import codecs
import pickle
import types
from argparse import Namespace
from collections import Counter, OrderedDict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

STATISTICS = ('min', 'max', 'mean', 'current')


def _getattr(owner, name):
    """All that an mmengine checkpoint needs ``getattr`` for: the statistics that ``HistoryBuffer`` pickles."""
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'GLOBAL getattr of {owner!r} and {name!r}')


def _dtype(*args):
    dtype = np.dtype(*args)
    if dtype.kind not in 'biufcSU':
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype {dtype}')
    return dtype


def allowed_globals() -> dict:
    """What a checkpoint may name besides tensors: mmengine's log, NumPy's numbers and arrays, command-line options."""
    allowed = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _getattr,
        'argparse.Namespace': Namespace,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': _dtype,
    }
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    # NumPy 2 renamed the module; a file may come from either.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed |= {f'{module}._reconstruct': reconstruct, f'{module}.scalar': scalar}
    return allowed


def number_types() -> list:
    """The classes of dtypes, of numbers and text only, which torch wants to see listed when it builds one."""
    return list({type(np.dtype(code)) for code in '?bhilqBHILQefdFDSU'})


class RestrictedUnpickler(pickle.Unpickler):
    """Finds only what is listed.

    For torch before 2.6, whose ``weights_only=True`` cannot build a ``HistoryBuffer``, nor be told to: there it would
    refuse each checkpoint of mmengine.
    """

    allowed = {
        **allowed_globals(),
        **{f'torch._utils.{name}': getattr(torch._utils, name) for name in ('_rebuild_tensor', '_rebuild_tensor_v2')},
        'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
        'torch.nn.parameter.Parameter': torch.nn.Parameter,
        **{str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)},
        'torch.Size': torch.Size,
        'torch.device': torch.device,
        'collections.OrderedDict': OrderedDict,
        'collections.Counter': Counter,
        '_codecs.encode': codecs.encode,
        'builtins.set': set,
        'builtins.complex': complex,
        'builtins.bytearray': bytearray,
    }

    def find_class(self, module, name):
        path = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if path not in self.allowed:
            raise pickle.UnpicklingError(f'GLOBAL {path}')
        return self.allowed[path]


def _restricted_load(file, **kwargs):
    return RestrictedUnpickler(file, **kwargs).load()


# What torch.load uses of a pickle_module.
RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__='restricted_pickle', Unpickler=RestrictedUnpickler, load=_restricted_load
)
