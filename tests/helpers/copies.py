"""Count copies to another device, for which torch's meta device stands in, and what makes a host wait for a GPU."""

from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Copies(TorchDispatchMode):
    """Counts copies between devices as ``count``."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        out = op(*args, **(kwargs or {}))
        name = op._overloadpacket.__name__
        self.count += name in ('_to_copy', 'copy_') and out.device != args[-1 if name == 'copy_' else 0].device
        return out


class Waits(TorchFunctionMode):
    """Lists, as ``calls``, the calls with which the host would wait for a GPU, or copy a new tensor to it."""

    NAMES = (
        *('tensor', 'as_tensor', 'new_tensor', 'item', 'tolist', 'cpu', 'numpy', 'nonzero'),
        *('__bool__', '__float__', '__int__', '__index__'),
    )

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, '__name__', '')
        if name in self.NAMES:
            self.calls.append(name)
        return function(*args, **(kwargs or {}))
