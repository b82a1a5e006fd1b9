"""An error on one rank alone ends all of them, with one message, and leaves none waiting."""

import subprocess
import sys

import pytest

from aemim_mm.engine.ranks import on_all_ranks, on_main
from aemim_mm.errors import UserError

SCRIPT = """
import sys
import torch.distributed as dist
sys.path[:0] = {path!r}
from aemim_mm.errors import UserError
from aemim_mm.engine.ranks import on_main, on_all_ranks
from aemim_mm.launch import one_clear_error

dist.init_process_group('gloo')
rank = dist.get_rank()

def work():
    if rank == 1:
        raise UserError('the disk of this machine is full')
    return rank

with one_clear_error():
    assert on_all_ranks(lambda: rank) == rank and on_main(lambda: rank) == 0
    if sys.argv[1] == 'before work':
        on_all_ranks(work)
    work()
    dist.barrier()
print('NOT REACHED')
"""


def test_one_process():
    assert on_all_ranks(lambda: 3) == 3 and on_main(lambda: 4) == 4
    with pytest.raises(UserError, match='^wrong$') as error:
        on_all_ranks(lambda: (_ for _ in ()).throw(UserError('wrong')))
    assert error.value.everywhere and not UserError('x').everywhere


@pytest.mark.slow
@pytest.mark.parametrize(
    ('when', 'message'), [('before work', 'error: on rank 1: the disk'), ('amid work', 'error: rank 1: the disk')]
)
def test_an_error_on_one_rank(tmp_path, when, message):
    script = tmp_path / 'run.py'
    script.write_text(SCRIPT.format(path=[path for path in sys.path if path]))
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', script, when]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and 'NOT REACHED' not in done.stdout
    assert message in done.stderr and done.stderr.count('the disk of this machine is full') == 1
