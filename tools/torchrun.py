"""torchrun with a clear last line and the exit code of the program that it runs.

torchrun.sh calls this script with the arguments of torchrun. If a process is killed, torchrun stops the others.

Exit codes: 75 if the job was told to stop and has saved; 1 if a process was killed; otherwise the exit code of the
first process that failed.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path


def main() -> int:
    # Import late: this takes seconds, which --help does not need.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    with tempfile.TemporaryDirectory() as folder:
        # torchrun does not report the exit codes of processes to which it has sent a signal.
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
    """Print which process was killed, if any, and return the exit code.

    Args:
        failures: Rank to ``ProcessFailure`` of torchrun.
    """
    # If a process was killed, the others failed because of it.
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
