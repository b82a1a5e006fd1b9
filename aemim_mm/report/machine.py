"""The machine that figures were measured on."""

import os
import platform
import sys
from pathlib import Path
from typing import Any


def processor_name() -> str:
    """Return the name of the processor, as the operating system gives it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def machine_facts() -> dict:
    """Return the facts about this machine that figures depend on.

    Returns:
        ``processor`` and ``cores``. If torch is imported, also ``instructions`` (the widest vectors that torch uses),
        ``threads`` of torch, and ``gpus``, a list of names.
    """
    facts: dict[str, Any] = dict(processor=processor_name(), cores=os.cpu_count())
    torch = sys.modules.get('torch')
    if torch:
        gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        instructions = torch.backends.cpu.get_cpu_capability()
        facts.update(instructions=instructions, threads=torch.get_num_threads(), gpus=gpus)
    return facts
