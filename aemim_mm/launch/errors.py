"""How a command-line tool ends when something goes wrong."""

import os
import sys
from contextlib import contextmanager

from mmengine import dist

from ..engine.resumption import known_failure
from ..errors import UserError
from ..models import NonFiniteLossError


@contextmanager
def one_clear_error():
    """Print the user's own mistakes as one line, and exit with code 2; leave a traceback to what is ours."""
    try:
        yield
    except (UserError, NonFiniteLossError) as error:
        # From a data loader's worker, the message is a traceback that ends with the message.
        message = str(error).split(f'{type(error).__name__}: ')[-1].strip()
        shared = getattr(error, 'everywhere', False)
        rank = f'rank {os.environ["RANK"]}: ' if int(os.environ.get('WORLD_SIZE', 1)) > 1 and not shared else ''
        if not shared or dist.is_main_process():
            print(f'error: {rank}{message}', file=sys.stderr, flush=True)
        if shared:
            # The first process to end has the launcher end the others: not before the message is out.
            dist.barrier()
        sys.exit(2 if isinstance(error, UserError) else 1)
    except (OSError, RuntimeError) as error:
        known = known_failure(error)
        if not known:
            raise
        print(f'error: {known}', file=sys.stderr, flush=True)
        # Not sys.exit: taking the process group down would wait for the lost process again.
        os._exit(1)
