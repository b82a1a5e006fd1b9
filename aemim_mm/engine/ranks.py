"""Decisions that all processes take together, so that no process waits for another that has failed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from mmengine import dist
from mmengine.model import is_model_wrapper

from ..errors import UserError

# The default limit in seconds for a process that waits for the others. torch's own default is half an hour.
TIMEOUT = 600
T = TypeVar('T')


def start_processes(settings: dict) -> None:
    """Join the process group in the two cases that mmengine does not handle.

    Without an accelerator, the backend has to be gloo. After a restart by torchrun with the static rendezvous (its
    default), the store still holds the keys of the earlier attempt, among them addresses of dead processes. In this
    case, the keys of this attempt get a prefix.

    Args:
        settings: ``env_cfg.dist_cfg``: the backend, and the timeout in seconds.
    """
    device, restarts = torch.cuda.is_available(), os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    timeout = timedelta(seconds=settings['timeout'])
    place: dict[str, Any] = {}
    if restarts != '0' and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
        host, port, rank, size = (os.environ[key] for key in ('MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE'))
        store = torch.distributed.TCPStore(host, int(port), int(size), is_master=False, timeout=timeout)
        store = torch.distributed.PrefixStore(f'restart {restarts}', store)
        place = dict(store=store, rank=int(rank), world_size=int(size))
    elif device:
        return  # mmengine joins the group.
    if device:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    torch.distributed.init_process_group(settings['backend'] if device else 'gloo', timeout=timeout, **place)


def bare_model(model: torch.nn.Module) -> Any:
    """The model inside the wrapper of distributed training; a model without a wrapper is returned as it is."""
    return model.module if is_model_wrapper(model) else model


def on_main(make: Callable[[], T]) -> T:
    """Call ``make`` on rank 0 and return its result on all ranks.

    Raises:
        UserError: ``make`` raised it on rank 0. All ranks raise it, with ``everywhere`` set.
    """
    shared: list = [None, None]
    if dist.is_main_process():
        try:
            shared[0] = make()
        except UserError as error:
            shared[1] = str(error)
    dist.broadcast_object_list(shared)
    result, failure = shared
    if failure:
        raise _everywhere(failure)
    return result


def on_all_ranks(make: Callable[[], T]) -> T:
    """Call ``make`` on each rank and return the result of this rank.

    Args:
        make: A function that does not wait for other ranks.

    Raises:
        UserError: ``make`` raised it on some rank. All ranks raise the error of the lowest of these ranks, with
            ``everywhere`` set.
    """
    message, value = None, cast(T, None)  # Without a value, this function raises.
    try:
        value = make()
    except UserError as error:
        message = str(error)
    messages = dist.all_gather_object(message)
    failed = [(rank, text) for rank, text in enumerate(messages) if text is not None]
    if failed:
        rank, text = failed[0]
        raise _everywhere(text if len(failed) == len(messages) else f'on rank {rank}: {text}')
    return value


def _everywhere(message: str) -> UserError:
    error = UserError(message)
    error.everywhere = True
    return error


@contextmanager
def sigterm_restored() -> Iterator[None]:
    """Restore the handler of SIGTERM at the end, also after an error."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopSignal:
    """Tell all ranks in the same iteration that one of them has received SIGTERM.

    After each iteration, the ranks start an all-reduce of one byte on the CPU: whether the rank has received the
    signal. They read the result one iteration later. So the all-reduce runs during the computation, and no device
    waits for it.
    """

    def __init__(self):
        self.received = False
        self._handler = self._group = self._flag = self._work = None

    def open(self, timeout: float) -> None:
        """Install the signal handler.

        Args:
            timeout: Limit in seconds for the wait for a rank that does not take part.
        """
        # Python lets only the main thread install signal handlers.
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._note)
        if dist.get_world_size() > 1:
            self._group = torch.distributed.new_group(backend='gloo', timeout=timedelta(seconds=timeout))

    def _note(self, _signal, _frame) -> None:
        self.received = True

    def agreed(self) -> bool:
        """Return whether any rank had received the signal by the last iteration.

        All ranks have to call this once in each iteration.
        """
        if self._group is None:
            return self.received
        stop = self._reduced()
        if not stop:
            self._flag = torch.tensor([self.received], dtype=torch.uint8)
            operation = torch.distributed.ReduceOp.MAX
            self._work = torch.distributed.all_reduce(self._flag, operation, group=self._group, async_op=True)
        return stop

    def _reduced(self) -> bool:
        """Wait for the all-reduce that runs, if any, and return its result."""
        if self._work is None:
            return False
        self._work.wait()
        self._work = None
        return bool(self._flag)

    def close(self) -> None:
        """End the all-reduce that runs, and restore the earlier signal handler."""
        self._reduced()
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None
