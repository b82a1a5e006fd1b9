"""The benchmark: on tiny networks, against what is known of them."""

import itertools
import json
import time

import pytest
import torch
from helpers import runs

from aemim_mm.benchmark import Result, machine, peers, table
from aemim_mm.benchmark.laps import PARTS, Laps
from aemim_mm.benchmark.memory import most_allocated, resident_bytes
from aemim_mm.errors import UserError

CPU = torch.device('cpu')
SMALL = 'model.backbone.arch.num_layers=2 model.neck.decoder_depth=1'


@pytest.fixture
def small_matrices(monkeypatch):
    monkeypatch.setattr(machine, 'SIDE', 64)


def run(tmp_path, *contenders, options=()):
    out = tmp_path / 'out.json'
    runs.run('analysis_tools/benchmark.py', *contenders, '--rounds', 2, '--batch-size', 4, '--out', out, *options)
    return json.loads(out.read_text())


def test_configs_side_by_side(tmp_path, small_matrices, capsys):
    ours = f'{runs.AEMIM} {SMALL} model.adv_share='
    found = run(tmp_path, f'{runs.MAE} {SMALL}', f'{ours}1.0', f'{ours}0.5')
    mae, whole, half = found['results']
    assert mae['name'].startswith('mae_vit-tiny') and len(mae['seconds']) == 2
    for result in found['results']:
        assert result['median_seconds'] > 0 and result['memory'] > 0
        for number, seconds in enumerate(result['seconds']):
            assert sum(result['parts'][part][number] for part in PARTS) == pytest.approx(seconds)
        for part in ('data', 'clean', 'backward', 'optimizer'):
            assert min(result['parts'][part]) > 0, part
    for part in ('attack', 'adversarial'):
        assert max(mae['parts'][part]) == 0 and min(whole['parts'][part]) > 0
    assert mae['gain'] is None and whole['gain'] > 1
    # 3 passes forward and backward, against those twice and two attack steps; then for half of the images.
    assert 2.2 < whole['flops'] / mae['flops'] < 3 and 1.5 < half['flops'] / mae['flops'] < 2.2
    assert whole['time_ratios'] == [a / b for a, b in zip(whole['seconds'], mae['seconds'])]
    printed = capsys.readouterr().out
    assert all(result['name'] in printed for result in found['results']) and '1.00 (1.00-1.00)' in printed


def test_a_part_gets_the_time_that_passes_in_it():
    laps, ticks = Laps(CPU), itertools.count()
    laps._now = lambda: next(ticks)

    class Step:
        def attack(self):
            return 'attacked'

    step = Step()
    laps.around(step, 'attack', 'clean', 'attack')
    laps.start()
    assert step.attack() == 'attacked'
    laps.charge('backward')
    assert laps.seconds == {'clean': 1, 'attack': 1, 'backward': 1}


def test_the_clock_is_a_clock():
    laps = Laps(CPU)
    laps.start()
    time.sleep(0.05)
    laps.charge('data')
    assert 0.05 <= laps.seconds['data'] < 5


def test_the_most_memory_is_that_of_what_lives_at_one_time():
    def step():
        first = torch.zeros(1000, 1000)
        second = first + torch.zeros(1000, 1000)
        del first
        return second * 2

    # Three at most: two summands and the sum, then the sum and its double.
    assert most_allocated(step, CPU) == pytest.approx(3 * 4e6, rel=0.01)


def test_resident_memory_counts_weights_and_states_once():
    model = torch.nn.Linear(100, 10, bias=False)
    model.twice = model.weight
    optimizer = torch.optim.AdamW(model.parameters())
    assert resident_bytes(model, optimizer) == 4000
    model(torch.rand(1, 100)).sum().backward()
    optimizer.step()
    assert resident_bytes(model, optimizer) == pytest.approx(3 * 4000, abs=16)


def test_the_table_takes_ratios_round_by_round(monkeypatch):
    """A machine that is half as fast in the second round changes no ratio."""
    measured = machine.Machine(CPU, rates=dict(float32=[2e9], bfloat16=[4e9]))
    base = Result('base', 2, flops=int(4e9), memory=int(1e6), seconds=[4.0, 8.0, 4.0])
    other = Result('other', 2, flops=int(8e9), memory=int(2e6), seconds=[6.0, 12.0, 7.0])
    row = next(line for line in table([base, other], measured).splitlines() if line.startswith('| other'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells[1:9] == ['7.00 ±43%', '0.29', '1.50 (1.50-1.75)', '2', '2.00', '4.0', '2.00', '57%']


@pytest.mark.parametrize(
    ('contender', 'options', 'message'),
    [
        ('gone.py', (), 'There is no config gone.py'),
        (f'{runs.AEMIM} model.nothing', (), '--cfg-options takes KEY=VALUE'),
        (f'{runs.MAE} train_dataloader=None', (), 'has nothing to benchmark'),
        (runs.MAE, ('--device', 'abacus'), "--device takes a device of this machine, such as cpu, but got 'abacus'"),
        (runs.MAE, ('--peers', 'timm'), "--peers takes transformers, lightly, but got 'timm'"),
    ],
)
def test_bad_input_is_one_line(tmp_path, contender, options, message, capsys):
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, contender, options=options)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_peer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(peers, 'installed', lambda: [])
    with pytest.raises(UserError, match='lightly is not installed. Install it with: pip install lightly'):
        peers.build('lightly', None)


@pytest.mark.slow
@pytest.mark.parametrize('name', list(peers.PEERS))
def test_a_peer_is_mae(name):
    """Where installed: it takes images, its loss is that of normalised pixels, about 1 untrained, and it learns."""
    if name not in peers.installed():
        pytest.skip(f'needs {name}')
    torch.manual_seed(0)
    model = peers.build(name, None)
    loss = model(torch.randn(1, 3, 224, 224), mode='loss')['loss']
    loss.backward()
    assert 0.7 < loss.item() < 2.5
    # Those of ViT-B/16 with MAE's decoder.
    assert sum(value.numel() for value in model.parameters()) == pytest.approx(111.9e6, rel=0.02)
