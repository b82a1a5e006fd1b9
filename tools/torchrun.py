"""torchrun, with one clear line at the end and the exit code of the program that it ran.

Used by torchrun.sh; it takes the arguments of torchrun. A process that is killed ends the others.

Exit codes: 75, the job was told to stop and has saved; else that of the first process that failed, or 1 if that one was
killed.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    # Only now: importing torch takes seconds, and --help should not.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    # A restart goes on from what this job saved, not from what an older one left in the work directory.
    os.environ['AEMIM_JOB_STARTED'] = str(time.time())
    with tempfile.TemporaryDirectory() as folder:
        # torchrun forgets the exit codes of the processes that it passed a signal on to.
        saved = Path(folder, 'saved')
        os.environ['AEMIM_SAVED_FILE'] = str(saved)
        try:
            torchrun(sys.argv[1:])
        except ChildFailedError as error:
            return report(error.failures)
        except SignalException as error:
            if saved.exists():
                return 75
            print(f'error: stopped by {error.sigval.name}, before there was anything to save.', file=sys.stderr)
            return 128 + error.sigval
    return 0


def report(failures: dict) -> int:
    """Say which process ended the others, unless it has said so itself; give the exit code."""
    # One that was killed comes first: the others failed because it was gone.
    rank, first = min(failures.items(), key=lambda item: (item[1].exitcode >= 0, item[1].timestamp))
    if first.exitcode >= 0:
        return first.exitcode
    name = signal.Signals(-first.exitcode).name
    print(
        f'error: rank {rank} was killed by {name}, and the other processes were stopped. Go on with '
        '--resume; if it was SIGKILL, look for a lack of memory in the log of the system.',
        file=sys.stderr,
    )
    return 1


if __name__ == '__main__':
    sys.exit(main())
