"""An error on one rank ends all ranks with one message, and no rank waits for ever."""

import os

import pytest
from helpers import faults
from torch import distributed

from aemim_mm.engine.ranks import on_all_ranks, on_main
from aemim_mm.errors import UserError
from aemim_mm.launch import one_clear_error


def test_one_process():
    assert on_all_ranks(lambda: 3) == 3 and on_main(lambda: 4) == 4
    with pytest.raises(UserError, match='^wrong$') as error:
        on_all_ranks(lambda: (_ for _ in ()).throw(UserError('wrong')))
    assert error.value.everywhere and not UserError('x').everywhere


def run(rank, port, when):
    os.environ.update(RANK=str(rank), WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    distributed.init_process_group('gloo')

    def work():
        if rank == 1:
            raise UserError('the disk of this machine is full')

    with one_clear_error():
        assert on_all_ranks(lambda: rank) == rank and on_main(lambda: rank) == 0
        if when == 'together':
            on_all_ranks(work)
        work()
        distributed.barrier()
    print('NOT REACHED')


@pytest.mark.parametrize(
    ('when', 'codes', 'message'),
    [('together', [2, 2], 'error: on rank 1: the disk'), ('alone', [1, 2], 'error: rank 1: the disk')],
)
def test_an_error_on_one_rank(tmp_path, when, codes, message):
    port = faults.free_port()
    started = [faults.Process(tmp_path / str(rank), run, rank, port, when) for rank in range(2)]
    assert [process.wait() for process in started] == codes
    output = ''.join(process.output() for process in started)
    assert message in output and output.count('the disk of this machine is full') == 1
    assert 'NOT REACHED' not in output and 'Traceback' not in output
