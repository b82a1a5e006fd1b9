"""The other tools that measure."""

import pytest
from helpers import runs


def test_costs_of_an_image(capsys):
    path = runs.CONFIGS / 'demo/mae_vit-tiny_16e_fashion-mnist.py'
    runs.run('analysis_tools/count_costs.py', path, '--size', 28)
    printed = capsys.readouterr().out
    assert str(path) in printed and 'GFLOP' in printed and 'ZeRO-1' in printed


@pytest.mark.slow
def test_throughput_of_one_and_two_processes(capsys, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(runs.REPO))
    options = [*runs.SHRUNK, 'train_cfg.max_epochs=3', 'custom_hooks=[]', 'model.data_preprocessor.steps=1']
    flags = ('--rounds', 1, '--skip', 1)
    runs.run('analysis_tools/processes.py', runs.AEMIM, *flags, '--cfg-options', *options)
    one, two = capsys.readouterr().out.splitlines()[2:]
    assert one.startswith('| 1 |') and '1.00 (1.00-1.00) | 100%' in one
    assert two.startswith('| 2 |')


def test_a_run_that_fails_is_shown(capsys):
    with pytest.raises(SystemExit, match='There is no config gone.py'):
        runs.run('analysis_tools/processes.py', 'gone.py', '--rounds', 1)
