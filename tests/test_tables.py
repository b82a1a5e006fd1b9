"""The tables and figures of README and docs equal the records in results/."""

import json
import re

import page_content
import pytest
from helpers import runs

from aemim_mm.report import Chart, Curve, record, render_svg
from aemim_mm.report.table import markdown_table

RECORDS = sorted((runs.REPO / 'results').rglob('*.json'))


@pytest.fixture(scope='module')
def make_tables():
    return runs.tool('misc/make_tables.py')


def test_pages_equal_the_records(make_tables):
    assert RECORDS
    runs.run('misc/make_tables.py', '--check')


@pytest.mark.parametrize('path', RECORDS, ids=lambda path: path.stem)
def test_a_record_is_whole_and_names_no_folder_of_a_machine(path):
    found = record.read_record(path)
    assert re.fullmatch(r'[0-9a-f]{40}', found['commit'])
    assert found['command'].startswith('python tools/') and found['values']
    assert not record.ABSOLUTE_PATH.search(path.read_text().replace('\\n', ' '))


def test_arithmetic_on_costs():
    """Round numbers: 100 M parameters, of which an eighth is 100 MB; 1 TFLOP and 10 MB for an image."""
    cost = dict(parameters_m=100, gflop_per_image=1000, activations_mb_per_image=10, optimizer_mb=800, zero1_mb=100)
    cost |= dict(attack_gflop_per_image=200, moved_mb_per_image=2000)
    costs = {'mae_vit-b_800e': cost, 'aemim_vit-b_800e': cost}
    mae, aemim = page_content.memory(costs).values()
    assert (mae['fixed_gb'], aemim['fixed_gb']) == (2.2, 2.6) and mae['saved_images'] == pytest.approx(70)
    # An image takes 1 TFLOP at 60 % of 312 TFLOP/s, 2 GB at 67 % of 2.04 TB/s, and 1/512 of 10 ms.
    seconds = 1 / (0.6 * 312) + 2e-3 / (0.67 * 2.04) + 10e-3 / 512
    hours = page_content.gpu_hours(costs)
    assert hours['A100']['aemim_vit-b_800e'] == pytest.approx(800 * 1_281_167 * seconds / 3600)
    assert page_content.gpu_steps(costs)['A100, aemim_vit-b_800e']['step'] == pytest.approx(512e3 * seconds)
    # On a V100, the attack's 0.2 TFLOP are in float32, at 60 % of 15.7 TFLOP/s.
    seconds = 0.8 / (0.6 * 125) + 0.2 / (0.6 * 15.7) + 2e-3 / (0.67 * 0.9) + 10e-3 / 512
    assert hours['V100']['aemim_vit-b_800e'] == pytest.approx(800 * 1_281_167 * seconds / 3600)
    # 90 % of 40 GB are 36 GB.
    assert page_content.largest_batches(costs)['40'] == {'mae_vit-b_800e': 3380, 'aemim_vit-b_800e': 3340}


def test_rows_of_the_demo():
    probes = {name: dict(linear=number, knn=number) for number, name in enumerate(('untrained', 'AEMIM', 'MAE'))}
    tuned = {name: {'top-1': number} for number, name in enumerate(('scratch', 'AEMIM', 'MAE'))}
    attacked = {'from scratch': {'clean': 72, 'fgsm/4': 60, 'pgd/2': 66, 'pgd/4': 52, 'pgd/8': 31, 'corrupted': 39}}
    attacked['from scratch, PGD-AT'] = attacked['from scratch']
    demo = dict(frozen=probes, fine_tuned=tuned, robustness=attacked, seconds=dict(aemim=20, mae=10))
    encoders, networks = page_content.TABLES['demo encoders'], page_content.TABLES['demo networks']
    rows = markdown_table(encoders.rows(demo), encoders.columns).splitlines()[2:]
    assert [[cell.strip() for cell in row.strip('|').split('|')] for row in rows] == [
        ['untrained, or trained from scratch', '0.0', '0.0', '0.0', ''],
        ['MAE', '2.0', '2.0', '2.0', '10 s'],
        ['AEMIM', '1.0', '1.0', '1.0', '20 s'],
    ]
    (row,) = markdown_table(networks.rows(demo), networks.columns).splitlines()[2:]
    assert len(page_content.TABLES['demo robust networks'].rows(demo)) == 2
    assert row == '| from scratch | 72.0  | 66.0       | 52.0       | 31.0       | 39.0      |'


def test_robustness_over_the_eps_of_the_pre_training():
    accuracies = {'mae': 30, 'mae-long': 33, 'eps0': 30, 'eps2': 31, 'eps16': 35, 'eps16-1step': 34, 'noise16': 29}
    study = dict(methods=list(accuracies), baseline='mae', primary='pgd_8')
    values = [
        dict(method=method, study=study, measures=dict(pgd_8=accuracy), cpu_seconds={})
        for method, accuracy in accuracies.items()
    ]
    records = [dict(seed=100, machine=dict(gpus=[]), values=each) for each in values]
    chart = page_content.by_eps(records, 'pgd_8', 'Robustness', 'PGD')
    assert {curve.label: list(curve.y) for curve in chart.curves} == {
        'AEMIM': [30, 31, 35],
        'MAE': [30] * 3,
        "MAE in AEMIM's time": [33] * 3,
    }
    assert list(chart.curves[0].x) == [0, 2, 16] and chart.caption.startswith('PGD, 1 seed.')


def draw(values):
    """A chart of the record of ``project``."""
    curve = Curve('AEMIM', [1, 2], [1, values['AEMIM, fast']['seconds']])
    return Chart('Speed', 'Lower is faster.', 'step', 'seconds', [curve])


@pytest.fixture
def project(tmp_path, monkeypatch, make_tables):
    """A project with a record and a page, and a function that runs the tool on it."""
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'README.md').write_text('')
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/metafile.yml').write_text('Models: []')
    monkeypatch.setattr(record, '_command', lambda: 'python tools/measure.py')
    values = {'AEMIM, fast': dict(seconds=1.234), 'MAE': dict(seconds=None)}
    record.write_record(tmp_path / 'results/speed.json', values)
    record.write_record(tmp_path / 'results/config_costs.json', {})
    tables = {'speed': page_content.Table('speed', {'method': '{name}', 's': '{seconds:.1f}'})}
    monkeypatch.setattr(make_tables, 'REPO', tmp_path)
    monkeypatch.setattr(make_tables, 'TABLES', tables)
    monkeypatch.setattr(make_tables, 'CHARTS', {'speed chart': page_content.Drawing('speed', draw)})

    def run(*argv):
        monkeypatch.setattr('sys.argv', ['make_tables.py', *argv])
        make_tables.main()

    return tmp_path / 'docs/page.md', run


def test_tables_and_figures_are_filled(project, capsys):
    page, run = project
    page.write_text(
        'It takes <!-- figure: speed/AEMIM, fast/seconds .2f -->9<!-- end --> s.\n\n<!-- table: speed --><!-- end -->\n'
    )
    with pytest.raises(SystemExit) as ended:
        run('--check')
    diff = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1 and '+| AEMIM, fast | 1.2 |' in diff and '--- docs/page.md' in diff
    assert '1.23' not in page.read_text()
    run()
    text, lines = page.read_text(), page.read_text().splitlines()
    assert lines[0] == 'It takes <!-- figure: speed/AEMIM, fast/seconds .2f -->1.23<!-- end --> s.'
    assert lines[4:8] == [
        '| method      | s   |',
        '| ----------- | --- |',
        '| AEMIM, fast | 1.2 |',
        '| MAE         |     |',
    ]
    assert lines[9].startswith('*`python tools/measure.py`; ')
    assert lines[9].endswith('[record](../results/speed.json).*')
    run('--check')
    run()
    assert page.read_text() == text


def test_a_chart_is_a_picture_that_follows_the_record(project, capsys):
    page, run = project
    page.write_text('<!-- chart: speed chart --><!-- end -->\n')
    run()
    picture = page.parent / 'charts/speed-chart.svg'
    lines = page.read_text().splitlines()
    assert lines[2:5] == ['![Speed](charts/speed-chart.svg)', '', 'Lower is faster.']
    assert lines[6].startswith('*`python tools/measure.py`; ')
    assert picture.read_text() == render_svg(draw({'AEMIM, fast': dict(seconds=1.234)})) + '\n'
    run('--check')
    picture.write_text(picture.read_text().replace('1.234', '1.235'))
    with pytest.raises(SystemExit):
        run('--check')
    assert '--- docs/charts/speed-chart.svg' in capsys.readouterr().out.splitlines()


def test_a_table_of_a_folder_names_all_machines_and_dates(make_tables, tmp_path, monkeypatch):
    folder, page = tmp_path / 'results/studies/some', tmp_path / 'docs/page.md'
    for number, (date, processor) in enumerate([('2026-01-02', 'A'), ('2026-01-03', 'B'), ('2026-01-01', 'A')]):
        found = record.write_record(folder / f'exact-seed{number}.json', dict(seconds=number))
        command = f'python tools/study.py some.py --only exact-seed{number} --lanes 0'
        found.update(command=command, date=date, machine=dict(processor=processor, threads=1, gpus=[]))
        (folder / f'exact-seed{number}.json').write_text(json.dumps(found))

    def rows(records):
        return {'all': dict(seconds=sum(each['values']['seconds'] for each in records))}

    table = page_content.Table('studies/some', {'runs': '{name}', 's': '{seconds}'}, rows)
    monkeypatch.setattr(make_tables, 'TABLES', {'some': table})
    lines = make_tables.filled('<!-- table: some --><!-- end -->', page, tmp_path / 'results')[page].splitlines()
    torch = found['versions']['torch'].split('+')[0]
    assert lines[4] == '| all  | 3   |'
    assert lines[6] == (
        f'*`python tools/study.py some.py`; A, 1 thread; torch {torch}, B, 1 thread; torch {torch}; '
        '2026-01-01 to 2026-01-03; [records](../results/studies/some).*'
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<!-- table: gone --><!-- end -->', "Unknown table 'gone'. Known: speed."),
        ('<!-- chart: gone --><!-- end -->', "Unknown chart 'gone'. Known: speed chart."),
        ('<!-- figure: gone/a .1f --><!-- end -->', 'gone.json cannot be read'),
        ('<!-- figure: speed/MAE/gone .1f --><!-- end -->', "KeyError('gone')"),
        ('<!-- figure: speed/MAE/seconds .1f --><!-- end -->', 'with a key of the record: TypeError'),
        ('<!-- table: speed -->\n<!-- table: speed --><!-- end -->', '2 tables, charts and figures begin, but 1 end'),
        ('<!-- table: speed -->', '1 tables, charts and figures begin, but 0 end'),
    ],
)
def test_a_mark_that_cannot_be_filled_is_one_line(project, capsys, text, message):
    page, run = project
    page.write_text(text)
    with pytest.raises(SystemExit) as ended:
        run('--check')
    assert ended.value.code == 2 and message in capsys.readouterr().err
