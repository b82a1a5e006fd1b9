"""The classes and functions that a checkpoint may use, and an unpickler for torch before 2.6 that allows no others."""

import codecs
import pickle
import types
from argparse import Namespace
from collections import Counter, OrderedDict

import numpy as np
import torch
import torch._utils
from mmengine.logging import HistoryBuffer

STATISTICS = ('min', 'max', 'mean', 'current')


def _getattr(owner, name):
    """A ``getattr`` for the methods that ``HistoryBuffer`` pickles, and for nothing else."""
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'GLOBAL getattr of {owner!r} and {name!r}')


def _dtype(*args):
    dtype = np.dtype(*args)
    if dtype.kind not in 'biufcSU':
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype {dtype}')
    return dtype


def allowed_globals() -> dict:
    """Return what a checkpoint may use besides tensors: mmengine's log, numbers and arrays of NumPy, and ``Namespace``.

    Returns:
        Full names to classes and functions.
    """
    allowed = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _getattr,
        'argparse.Namespace': Namespace,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': _dtype,
    }
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    # NumPy 2 renamed the module. A file may come from either version.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed |= {f'{module}._reconstruct': reconstruct, f'{module}.scalar': scalar}
    return allowed


def number_types() -> list:
    """Return the dtype classes of numbers and text, which torch needs in the list of allowed classes."""
    return list({type(np.dtype(code)) for code in '?bhilqBHILQefdFDSU'})


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that finds only the names in ``allowed``.

    It serves torch before 2.6, where ``weights_only=True`` refuses every checkpoint of mmengine: it cannot build a
    ``HistoryBuffer``, and its list of classes cannot be extended.
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

    def find_class(self, module: str, name: str) -> object:
        """Return an allowed class or function; raise an ``UnpicklingError`` for others."""
        path = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if path not in self.allowed:
            raise pickle.UnpicklingError(f'GLOBAL {path}')
        return self.allowed[path]


def _restricted_load(file, **kwargs):
    return RestrictedUnpickler(file, **kwargs).load()


# The part of a pickle module that torch.load uses.
RESTRICTED_PICKLE = types.SimpleNamespace(
    __name__='restricted_pickle', Unpickler=RestrictedUnpickler, load=_restricted_load
)
