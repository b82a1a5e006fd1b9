"""Runs that must fail, and one that did not."""

import pytest
from helpers import runs


@pytest.fixture
def error_of(capsys, tmp_path):
    """Run the training, which must fail; give the text of the error."""

    def error_of(*argv, config=runs.AEMIM, code=2, **kwargs):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runs.train(config, tmp_path / 'work', *argv, **kwargs)
        stderr = capsys.readouterr().err
        assert end.value.code == code
        assert stderr.count('error:') == 1 and 'Traceback' not in stderr
        return stderr[stderr.index('error:') :].removeprefix('error: ').strip()

    return error_of


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A work directory with a checkpoint."""
    work_dir = tmp_path_factory.mktemp('trained')
    runs.train(runs.AEMIM, work_dir)
    return work_dir
