"""How a command-line tool ends after an error."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine import dist

from ..engine.resumption import known_failure
from ..errors import UserError
from ..models import NonFiniteLossError

STDOUT = 1


@contextmanager
def one_clear_error() -> Iterator[None]:
    """End the process with one line instead of a traceback, for errors that are not a bug.

    The exit code is 2 for a UserError or a full disk, and 1 for a loss that is not finite or a lost process. It is that
    of SIGPIPE, without a message, if nobody reads the output any more, as in ``tool | head``. All other errors keep
    their traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except (UserError, NonFiniteLossError) as error:
        # A worker of a data loader puts its traceback in front of the message.
        message = str(error).split(f'{type(error).__name__}: ')[-1].strip()
        shared = getattr(error, 'everywhere', False)
        rank = f'rank {os.environ["RANK"]}: ' if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not shared else ''
        if not shared or dist.is_main_process():
            print(f'error: {rank}{message}', file=sys.stderr, flush=True)
        if shared:
            # When the first process ends, the launcher ends the others. So all wait until the message is printed.
            dist.barrier()
        sys.exit(2 if isinstance(error, UserError) else 1)
    except (OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(128 + signal.SIGPIPE)
        known = known_failure(error)
        if not known:
            raise
        message, code = known
        print(f'error: {message}', file=sys.stderr, flush=True)
        # Not sys.exit: it would take down the process group, and wait for the lost process again.
        os._exit(code)


def _nobody_reads() -> bool:
    """Return whether the standard output is a closed pipe; if so, what it still holds is thrown away."""
    poll = select.poll()
    poll.register(STDOUT, select.POLLOUT)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return closed
