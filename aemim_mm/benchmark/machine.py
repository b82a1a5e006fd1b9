"""The device of a benchmark, and its speed."""

import time
from dataclasses import dataclass, field

import torch

from ..errors import UserError
from ..report.machine import processor_name

SIDE = 2048


def choose_device(name: str | None) -> torch.device:
    """Return the device of a name, such as ``cpu`` or ``cuda:1``. Without a name, prefer a GPU.

    Raises:
        UserError: The machine has no such device.
    """
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device takes a device of this machine, such as cpu, but got {name!r}.') from error
    return device


@dataclass
class Machine:
    """A device and its rate of matrix products, which is measured between the steps: other work slows both alike.

    Attributes:
        device: The device.
        rates: Name of a number format to FLOP/s of square matrix products, one for each measurement. bfloat16 on GPUs
            only: a CPU without instructions for it would take minutes for a product.
    """

    device: torch.device
    rates: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The GPU, or the processor and the number of torch's threads."""
        if self.device.type == 'cuda':
            return torch.cuda.get_device_name(self.device)
        return f'{processor_name()}, {torch.get_num_threads()} threads'

    def measure(self) -> None:
        """Add a measurement to each rate."""
        for name in ('float32', 'bfloat16') if self.device.type == 'cuda' else ('float32',):
            a, b = torch.rand(2, SIDE, SIDE, device=self.device, dtype=getattr(torch, name))
            torch.matmul(a, b)
            self._wait()
            begin, count = time.perf_counter(), 0
            while count < 3 or (self.device.type == 'cuda' and count < 100):
                torch.matmul(a, b)
                count += 1
            self._wait()
            self.rates.setdefault(name, []).append(2 * SIDE**3 * count / (time.perf_counter() - begin))

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
