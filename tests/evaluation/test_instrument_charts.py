"""Charts hold what was logged."""

import json
import math

import pytest
from helpers import runs

from aemim_mm.evaluation.instrument_charts import RANGE_COLUMNS, instrument_charts, instruments_of, ranges
from aemim_mm.report.table import markdown_table


def write(folder, *rows):
    (folder / 'run/vis_data').mkdir(parents=True)
    lines = [{f'instruments/{name}': value for name, value in row.items()} for row in rows]
    lines = [json.dumps({**line, 'step': 10 * number}) for number, line in enumerate(lines, start=1)]
    (folder / 'run/vis_data/scalars.json').write_text('\n'.join([*lines, json.dumps(dict(loss=1.0, step=10))]))
    return folder


def test_charts_of_two_trainings(tmp_path):
    adversarial = write(
        tmp_path / 'aemim',
        dict(rank=0.2, moved_attack=0.03, moved_noise=0.01, domain_gap=0.0, loss_ratio=1.2, attack_over_noise=3.0),
        dict(rank=0.1, moved_attack=0.06, moved_noise=0.02, domain_gap=0.01, loss_ratio=1.1, attack_over_noise=3.0),
    )
    plain = write(tmp_path / 'mae', dict(rank=0.3), dict(rank=0.4))
    moved, balance, rank = instrument_charts(dict(AEMIM=instruments_of(adversarial), MAE=instruments_of(plain)))
    assert {curve.label: list(curve.y) for curve in rank.curves} == {'AEMIM': [0.2, 0.1], 'MAE': [0.3, 0.4]}
    assert [list(curve.x) for curve in rank.curves] == [[10, 20]] * 2
    assert [curve.label for curve in moved.curves] == ['AEMIM, attack', 'AEMIM, noise', 'AEMIM, gap of domains']
    assert moved.log_y and math.isnan(moved.curves[2].y[0]) and list(moved.curves[0].y) == [0.03, 0.06]
    assert len(balance.curves) == 2 and instrument_charts({}) == []


def test_ranges():
    values = dict(AEMIM=dict(rank=[0.25, 0.125], loss_ratio=[1.0, 1.0]), MAE=dict(rank=[0.1234]))
    rows = ranges(values)
    assert rows['AEMIM'] == dict.fromkeys(rows['AEMIM']) | dict(count=2, rank='0.125 to 0.25', loss_ratio='1')
    assert rows['MAE']['rank'] == '0.123' and len(markdown_table(rows, RANGE_COLUMNS).splitlines()) == 4


def test_the_tool_shows_them(tmp_path, capsys):
    folder = write(tmp_path / 'aemim', dict(rank=0.2, loss_ratio=1.2), dict(rank=0.1, loss_ratio=1.1))
    record = tmp_path / 'record.json'
    runs.run('analysis_tools/instruments.py', f'eps=2={folder}', '--record', record)
    assert '0.1 to 0.2' in capsys.readouterr().out
    assert json.loads(record.read_text())['values'] == {'eps=2': dict(rank=[0.2, 0.1], loss_ratio=[1.2, 1.1])}
    with pytest.raises(SystemExit):
        runs.run('analysis_tools/instruments.py', tmp_path / 'none')
    assert 'none has no figures of InstrumentsHook. Add the hook' in capsys.readouterr().err
