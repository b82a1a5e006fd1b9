"""What this machine is called."""

import platform
from pathlib import Path


def processor_name() -> str:
    """Return the name of the processor, such as ``AMD EPYC 7R13 Processor``."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = (line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    return next(names, '') or platform.processor() or platform.machine()
