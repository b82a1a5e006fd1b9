"""What several processes decide together, so that none waits for another that has given up."""

import os
import signal
import threading
from contextlib import contextmanager
from datetime import timedelta

import torch
from mmengine import dist
from mmengine.model import is_model_wrapper

from ..errors import UserError


def start_processes(settings) -> None:
    """Join the process group, where mmengine would not, or not well.

    Without an accelerator, processes talk over gloo. After a restart by torchrun, the keys of the attempt before are
    still in its store (with the static rendezvous, which is its default), among them addresses of dead processes.

    Args:
        settings: ``env_cfg.dist_cfg``: the backend, and the timeout in seconds.
    """
    device, restarts = torch.cuda.is_available(), os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    timeout, place = timedelta(seconds=settings['timeout']), {}
    if restarts != '0' and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
        host, port, rank, size = (os.environ[key] for key in ('MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE'))
        store = torch.distributed.TCPStore(host, int(port), int(size), is_master=False, timeout=timeout)
        store = torch.distributed.PrefixStore(f'restart {restarts}', store)
        place = dict(store=store, rank=int(rank), world_size=int(size))
    elif device:
        return  # To mmengine.
    if device:
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    torch.distributed.init_process_group(settings['backend'] if device else 'gloo', timeout=timeout, **place)


def bare_model(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside the wrapper of distributed training; a model without a wrapper is returned as it is."""
    return model.module if is_model_wrapper(model) else model


def on_main(make):
    """What ``make`` returns on rank 0, on all ranks; a UserError there is raised on all.

    Raises:
        UserError: As rank 0 raised it. ``everywhere`` is set: one rank is to print it.
    """
    shared = [None, None]
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


def on_all_ranks(make):
    """What ``make`` returns on each rank; a UserError on one of them is raised on all.

    ``make`` must not wait for other ranks itself.

    Raises:
        UserError: With the message of the lowest rank that failed. ``everywhere`` is set: one rank is to print it.
    """
    value, message = None, None
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
def sigterm_restored():
    """What SIGTERM does before, it does again afterwards, also after an error in training."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class StopSignal:
    """SIGTERM, as all ranks see it at the same iteration.

    The ranks vote after each iteration, by a number of one byte among their CPUs, and read the votes one iteration
    later: the exchange runs beside the computation, and no device waits for it.
    """

    def __init__(self):
        self.received = False
        self._handler = self._group = self._vote = self._work = None

    def open(self, timeout: float) -> None:
        """Listen to SIGTERM; ``timeout`` in seconds, for a rank that does not vote."""
        # Python lets only the main thread have signal handlers.
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, self._note)
        if dist.get_world_size() > 1:
            self._group = torch.distributed.new_group(backend='gloo', timeout=timedelta(seconds=timeout))

    def _note(self, _signal, _frame) -> None:
        self.received = True

    def agreed(self) -> bool:
        """Whether any rank had got the signal at the end of the last iteration; all ranks ask once each iteration."""
        if self._group is None:
            return self.received
        stop = self._counted()
        if not stop:
            self._vote = torch.tensor([self.received], dtype=torch.uint8)
            operation = torch.distributed.ReduceOp.MAX
            self._work = torch.distributed.all_reduce(self._vote, operation, group=self._group, async_op=True)
        return stop

    def _counted(self) -> bool:
        if self._work is None:
            return False
        self._work.wait()
        self._work = None
        return bool(self._vote)

    def close(self) -> None:
        """Stop listening; what SIGTERM did before, it does again."""
        self._counted()
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
            self._handler = None
