"""The benchmark, on tiny networks."""

import itertools
import time

import pytest
import torch
from helpers import runs
from torch.profiler import record_function

from aemim_mm.benchmark import Measurement, figures, machine, peers, report
from aemim_mm.benchmark.memory import peak_allocated, resident_bytes
from aemim_mm.benchmark.stages import STAGES, StageClock
from aemim_mm.errors import UserError
from aemim_mm.report.record import read_record

CPU = torch.device('cpu')
SMALL = 'model.backbone.arch.num_layers=2 model.neck.decoder_depth=1'


def run(tmp_path, *candidates, options=()):
    out = tmp_path / 'record.json'
    flags = ('--repetitions', 2, '--batch-size', 4, '--record', out)
    runs.run('analysis_tools/benchmark.py', *candidates, *flags, *options)
    return read_record(out)


def test_configs_side_by_side(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, 'SIDE', 64)
    ours = f'{runs.AEMIM} {SMALL} model.adv_share='
    record = run(tmp_path, f'{runs.MAE} {SMALL}', f'{ours}1.0', f'{ours}0.5')
    values = record['values']
    (mae, whole, half), stages = values['steps'].values(), list(values['stages'].values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in values['steps']) and '1.00 (1.00-1.00)' in printed
    assert list(record['config'])[0].startswith('mae_vit-tiny') and values['repetitions'] == 2
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in values['seconds'].values())
    # Stock MAE marks no stages, so its forward pass is 'clean'.
    assert {stage for stage, seconds in stages[0].items() if seconds is None} == {'attack', 'adversarial'}
    assert all(seconds > 0 for seconds in stages[1].values())
    assert mae['gain'] is None and whole['gain'] > 1
    # MAE has one pass forward and backward. AEMIM has two, and two attack steps, for all or half of the images.
    assert 2.2 < whole['flops_ratio'] < 3 and 1.5 < half['flops_ratio'] < 2.2


def clocked(step):
    """Seconds by stage of a step in which each look at the clock finds it one second later."""
    clock, ticks = StageClock(CPU), itertools.count()
    clock._now = lambda: next(ticks)
    model = torch.nn.Linear(1, 1)
    model.register_forward_hook(lambda *_: step())
    with clock.step(model):
        model(torch.ones(1))
    return clock.seconds


def test_time_belongs_to_the_innermost_mark():
    def step():
        with (
            record_function('aemim::clean'),
            record_function('aemim::early_backward'),
            record_function('of another library'),
        ):
            pass
        with record_function('aemim::attack'):
            pass
        with record_function('Optimizer.step#AdamW.step'):
            pass

    # A mark takes one look at its beginning and one at its end, and a model without marks three in all.
    assert clocked(step) == dict(data=1, clean=6, backward=4, attack=1, optimizer=1)
    assert clocked(lambda: None) == dict(data=1, clean=1, backward=1)


def test_a_failed_step_leaves_the_marks_as_they_were():
    before = record_function.__enter__, record_function.__exit__
    model = torch.nn.Linear(1, 1)
    with pytest.raises(ZeroDivisionError), StageClock(CPU).step(model), record_function('aemim::clean'):
        1 / 0  # noqa: B018
    assert (record_function.__enter__, record_function.__exit__) == before
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_the_clock_counts_seconds():
    clock = StageClock(CPU)
    with clock.step(torch.nn.Identity()):
        time.sleep(0.05)
    assert clock.seconds['data'] >= 0.05


def test_the_peak_counts_what_is_allocated_at_one_time():
    def step():
        first = torch.zeros(1000, 1000)
        second = first + torch.zeros(1000, 1000)
        del first
        return second * 2

    # Three tensors at most: two summands and the sum, later the sum and its double.
    assert peak_allocated(step, CPU) == pytest.approx(3 * 4e6, rel=0.01)


def test_resident_memory_counts_weights_and_states_once():
    model = torch.nn.Linear(100, 10, bias=False)
    model.twice = model.weight
    optimizer = torch.optim.AdamW(model.parameters())
    assert resident_bytes(model, optimizer) == 4000
    model(torch.rand(1, 100)).sum().backward()
    optimizer.step()
    assert resident_bytes(model, optimizer) == pytest.approx(3 * 4000, abs=16)


def test_ratios_are_taken_in_each_repetition():
    """A machine that is half as fast in the second repetition changes no ratio."""
    measured = machine.Machine(CPU, rates=dict(float32=[2e9], bfloat16=[4e9]))
    base = Measurement('base', 2, flops=int(4e9), memory=int(1e6), seconds=[4.0, 8.0, 4.0])
    other = Measurement('other', 2, flops=int(8e9), memory=int(2e6), seconds=[6.0, 12.0, 7.0])
    other.stages.update({stage: [1.0, 3.0, 2.0] for stage in STAGES})
    values = figures([base, other], measured, dict(other='base'))
    lines = report(values, measured).splitlines()
    steps, stages = ([cell.strip() for cell in line.strip('|').split('|')] for line in lines if '| other' in line)
    assert steps == ['other', '7.00 ±43%', '0.29', '1.50 (1.50-1.75)', '1.50', '2', '2.00', '4.0', '2.00', '57%', '']
    assert stages == ['other', *['2.00'] * 6] and 'float32 2, bfloat16 4' in lines[0]


@pytest.mark.parametrize(
    ('candidate', 'options', 'message'),
    [
        ('gone.py', (), 'There is no config gone.py'),
        (f'{runs.AEMIM} model.nothing', (), '--cfg-options takes KEY=VALUE'),
        (f'{runs.MAE} train_dataloader=None', (), 'has no training step to measure'),
        (runs.MAE, ('--device', 'abacus'), "--device takes a device of this machine, such as cpu, but got 'abacus'"),
        (runs.MAE, ('--peers', 'timm'), "--peers takes transformers, lightly, but got 'timm'"),
    ],
)
def test_bad_input_is_one_line(tmp_path, candidate, options, message, capsys):
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, candidate, options=options)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(peers, 'installed', lambda: [])
    with pytest.raises(UserError, match='lightly is not installed. Install it with: pip install lightly'):
        peers.build('lightly', None)


@pytest.mark.slow
@pytest.mark.parametrize('name', list(peers.PEERS))
def test_a_peer_is_mae(name):
    """It takes images, and has the loss and the parameters of MAE. Only installed peers are tested."""
    if name not in peers.installed():
        pytest.skip(f'needs {name}')
    torch.manual_seed(0)
    model = peers.build(name, None)
    loss = model(torch.randn(1, 3, 224, 224), mode='loss')['loss']
    loss.backward()
    # An untrained model predicts about zero, and normalised pixels have a variance of 1.
    assert 0.7 < loss.item() < 2.5
    # ViT-B/16 with MAE's decoder has 111.9 million parameters.
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(111.9e6, rel=0.02)
