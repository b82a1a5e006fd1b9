"""What the numbers were measured on."""

import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..errors import UserError

SIDE = 2048


def choose_device(name: str | None) -> torch.device:
    """The device of that name; without one, a GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'--device takes a device of this machine, such as cpu, but got {name!r}.') from error
    return device


@dataclass
class Machine:
    """A device, and how fast it multiplies matrices: measured beside the steps, since other work slows both.

    Attributes:
        rates: FLOP/s of square matrix products, by the name of the number format, one for each measurement.
    """

    device: torch.device
    rates: dict = field(default_factory=lambda: {'float32': [], 'bfloat16': []})

    @property
    def name(self) -> str:
        if self.device.type == 'cuda':
            return torch.cuda.get_device_name(self.device)
        lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
        models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
        return f'{models[0] if models else platform.processor()}, {torch.get_num_threads()} threads'

    def measure(self) -> None:
        """Add a measurement of each rate."""
        for name, rates in self.rates.items():
            a, b = torch.rand(2, SIDE, SIDE, device=self.device, dtype=getattr(torch, name))
            a @ b
            self._wait()
            begin, count = time.perf_counter(), 0
            while count < 3 or (self.device.type == 'cuda' and count < 100):
                a @ b
                count += 1
            self._wait()
            rates.append(2 * SIDE**3 * count / (time.perf_counter() - begin))

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
