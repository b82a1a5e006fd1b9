"""Commands side by side, each with its share of the cores."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

# On small tensors, two jobs with half of the cores each are faster than two in sequence with all cores.
LANES = min(os.cpu_count() or 1, 2)


class CommandFailed(Exception):
    """A command ended with an error."""


async def run_command(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    lanes: int = LANES,
    cwd: Path | None = None,
    see: Callable[[str], object] = lambda line: None,
) -> None:
    """Run a command, and write its output to a file. If this coroutine is cancelled, the command is ended.

    Args:
        name: Name that the user reads.
        command: The command line.
        log: Where its output goes.
        lanes: Number of commands that run at a time. Each gets an equal share of the cores.
        cwd: Where the command runs. Default: here.
        see: Called with each line of the output.

    Raises:
        CommandFailed: The command ended with an error; the message holds the last lines of its output.
    """
    # On small tensors, more threads than cores mostly wait for each other.
    threads = str(max((os.cpu_count() or 1) // lanes, 1))
    env = {'OMP_NUM_THREADS': threads, **os.environ, 'PYTHONUNBUFFERED': '1'}
    output: dict[str, Any] = dict(stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 24)
    process = await asyncio.create_subprocess_exec(*command, **output, cwd=cwd, env=env)
    try:
        assert process.stdout is not None  # It is a pipe.
        with log.open('wb', buffering=0) as file:
            async for line in process.stdout:
                file.write(line)
                see(line.decode(errors='replace').strip())
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code:
        last = ''.join(log.read_text(errors='replace').splitlines(keepends=True)[-5:])
        raise CommandFailed(f'{name} failed with exit code {code}. The log, {log}, ends with:\n{last}')


async def run_in_lanes(jobs: Sequence[Callable[[], Awaitable]], lanes: int = LANES) -> None:
    """Run jobs in their order, ``lanes`` at a time. If one raises an error, the others are cancelled."""
    free = asyncio.Semaphore(lanes)

    async def run(job):
        async with free:
            await job()

    tasks = [asyncio.create_task(run(job)) for job in jobs]
    await asyncio.gather(*tasks)
