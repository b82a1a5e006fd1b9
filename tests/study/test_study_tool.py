"""`tools/study.py`: what is run, what is not run again, how failures end, and a small study."""

import os
import re
import shlex
import signal
import sys
import time

import pytest
from helpers import faults, runs
from torch.utils.data import Subset

from aemim_mm.datasets.of_config import labelled_data
from aemim_mm.report.record import read_record, write_record
from aemim_mm.study import perform
from aemim_mm.study.reading import read_study
from aemim_mm.study.tables import differences, means

SMOKE = runs.CONFIGS / 'studies/smoke.py'


@pytest.fixture
def study(study_file, tmp_path, capsys):
    """Return a function that runs the tool on a small study and returns what it prints."""

    def run(*argv):
        capsys.readouterr()
        places = ['--out', tmp_path / 'out', '--work-dir', tmp_path / 'work']
        runs.run('study.py', study_file, *places, *argv)
        return capsys.readouterr().out

    return run


@pytest.fixture
def performed(monkeypatch, values_of):
    """Replace the trainings by a record of made-up accuracies; return the names of the runs in their order."""
    names = []

    def fake(run, out, work_dir):
        names.append(run.name)
        if len(names) == 3:
            raise KeyboardInterrupt
        values = values_of(run.method, 50.0 + run.seed, run.config_hash)
        write_record(perform.record_path(run, out), values, seed=run.seed)

    monkeypatch.setattr(perform, 'perform', fake)
    return names


def test_an_interrupted_study_goes_on_and_repeats_nothing(study, performed, study_file, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        study('--lanes', 0)
    assert performed == ['exact-seed0', 'fast-seed0', 'exact-seed1']
    assert re.findall(r'(\S+-seed\d) +(done|to do)', study('--list')) == [
        *[('exact-seed0', 'done'), ('fast-seed0', 'done'), ('exact-seed1', 'to do'), ('fast-seed1', 'to do')]
    ]
    assert '2 of 4 runs are done. Records' in study('--lanes', 0, '--budget-minutes', 0)
    assert '4 of 4 runs are done. Records' in study('--lanes', 0)
    assert performed[3:] == ['exact-seed1', 'fast-seed1']
    (tmp_path / 'out/exact-seed0.json').write_text('{"cut off')
    study_file.write_text(study_file.read_text().replace('adv_share=0.25', 'adv_share=0.5'))
    assert '1 of 4 runs are done, 3 are left.' in study('--lanes', 0)
    assert performed[5:] == ['exact-seed0', 'fast-seed0', 'fast-seed1'], 'a changed method is run again'
    study('--lanes', 0)
    assert len(performed) == 8


def test_only_and_unknown_runs(study, performed, capsys):
    assert '1 of 1 runs are done. Records' in study('--lanes', 0, '--only', 'fast-seed1')
    assert performed == ['fast-seed1']
    with pytest.raises(SystemExit) as ended:
        study('--only', 'slow')
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("error: Unknown run 'slow'.")


def test_the_commands_of_runs_that_are_to_do(study, performed, tmp_path, monkeypatch, capsys):
    study('--lanes', 0, '--only', 'exact-seed0')
    lines = study('--print-commands', '--only', 'exact').splitlines()
    assert len(lines) == 1 and lines[0].startswith('python tools/study.py ') and performed == ['exact-seed0']
    _, tool, *argv = shlex.split(lines[0])
    runs.run(tool.removeprefix('tools/'), *argv)
    assert performed == ['exact-seed0', 'exact-seed1']
    assert (tmp_path / 'out/exact-seed1.json').is_file()


# Stands for the tool in a lane: it notes that it was called, fails for one run, and needs long for another.
LANE = """
import os, sys, time
from pathlib import Path
name = sys.argv[sys.argv.index('--only') + 1]
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
(folder / name).write_text(f'{os.getpid()} {os.environ["OMP_NUM_THREADS"]}')
print('these words')
time.sleep(60 if name == SLOW else 0)
sys.exit(3 if name == 'fast-seed0' else 0)
"""


def test_a_failed_run_does_not_end_the_others(study_file, tmp_path, monkeypatch, capsys):
    module, work = runs.tool('study.py'), tmp_path / 'work'
    (tmp_path / 'lane.py').write_text(LANE.replace('SLOW', 'None'))
    monkeypatch.setattr(module, '__file__', str(tmp_path / 'lane.py'))
    monkeypatch.delenv('OMP_NUM_THREADS')
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    argv = ['study.py', study_file, '--out', tmp_path / 'out', '--work-dir', work, '--lanes', 3]
    monkeypatch.setattr(sys, 'argv', [str(part) for part in argv])
    with pytest.raises(SystemExit, match='fast-seed0 failed with exit code 3(?s:.*)these words'):
        module.main()
    threads = {path.name: path.read_text().split()[1] for path in work.glob('*-seed?')}
    assert threads == {'exact-seed0': '2', 'fast-seed0': '2', 'exact-seed1': '2', 'fast-seed1': '2'}
    # The lane wrote no records.
    assert '0 of 4 runs are done. Records' in capsys.readouterr().out


def start(lane, argv):
    """Run the tool with a stand-in for its lanes."""
    module = runs.tool('study.py')
    module.__file__ = lane
    sys.argv = ['study.py', *argv]
    module.main()


def test_a_killed_study_ends_its_runs(study_file, tmp_path):
    (tmp_path / 'lane.py').write_text(LANE.replace('SLOW', 'name'))
    argv = [str(study_file), f'--out={tmp_path}/out', f'--work-dir={tmp_path}/work', '--lanes=1']
    study = faults.Process(tmp_path / 'output.txt', start, str(tmp_path / 'lane.py'), argv)
    note, end = tmp_path / 'work/exact-seed0', time.monotonic() + 120
    while not (note.is_file() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    study.process.terminate()
    assert study.wait() == 128 + signal.SIGTERM, study.output()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text().split()[0]), 0)
    assert not (tmp_path / 'work/fast-seed0').exists()


@pytest.mark.slow
def test_the_smoke_study(tmp_path, monkeypatch, capsys):
    """A run that is interrupted after its pre-training goes on with the probes. The tables have all measures."""
    out, work = tmp_path / 'out', tmp_path / 'work'
    argv = [SMOKE, '--out', out, '--work-dir', work, '--lanes', 0]
    # The probes see a few of the images.
    monkeypatch.setattr(perform, 'labelled_data', lambda *args: Subset(labelled_data(*args), range(1000)))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(perform, '_probe', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        runs.run('study.py', *argv, '--only', 'exact-seed0')
    trained = runs.scalars(work / 'exact-seed0/pretrained')
    runs.run('study.py', *argv, '--only', 'exact-seed0', 'mae-tuned-seed0')
    assert '2 of 2 runs are done. Records' in capsys.readouterr().out
    assert runs.scalars(work / 'exact-seed0/pretrained') == trained and len(trained) == 4
    records = [read_record(path) for path in sorted(out.glob('*.json'))]
    assert [(record['values']['method'], record['seed']) for record in records] == [('exact', 0), ('mae-tuned', 0)]
    hashes = {run.name: run.config_hash for run in read_study(SMOKE).runs()}
    for record in records:
        values = record['values']
        assert values['config_hash'] == hashes[f'{values["method"]}-seed{record["seed"]}']
        assert values['resumed'] is (record is records[0]) and values['peak_memory_mb'] > 100
        only_once = ('second training', 'fine-tuning-adversarial-adapters')
        stages = [stage for stage in values['seconds'] if stage not in only_once]
        assert stages == [
            *('pre-training', 'probes', 'robustness-epoch-1', 'robustness-pretrained'),
            *('fine-tuning', 'robustness', 'fine-tuning-PGD-AT', 'robustness-PGD-AT'),
        ]
        figures, measures = values['figures'], values['measures']
        corrupted = [figure for name, figure in figures.items() if name.endswith('/3')]
        assert measures['corrupted'] == pytest.approx(sum(corrupted) / 15) and len(corrupted) == 15
        assert (
            0 < measures['moved_2'] < measures['moved_8'] and 'features/1/noise' in figures and 'fgsm/2' not in figures
        )
        assert measures['pretrained/reconstruction_8'] == figures['pretrained/reconstruction/8/attack'] > 0
        assert measures['epoch-1/reconstruction_8'] == measures['pretrained/reconstruction_8'], 'its only epoch'
        assert measures['PGD-AT/pgd_8'] == figures['PGD-AT/pgd/8'] and 'PGD-AT/clean' in figures
        assert measures['linear'] > 40 and record['config'][0].startswith('configs/demo/')
    exact, tuned = records
    # The same images in the same order, but the encoder's adapters are others.
    losses = [runs.scalars(work / f'exact-seed0/tuned{name}')[0]['loss'] for name in ('', '-adversarial-adapters')]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.1)
    assert 'adversarial-adapters/fine_tuned' in exact['values']['measures'].keys() - tuned['values']['measures'].keys()
    assert len(exact['config']) == 4 and 'second training' not in exact['values']['seconds']
    assert 'encoder-tuning' in tuned['config'][1] and 'moved_adv' in tuned['values']['last_logged']
    assert not list(work.rglob('*.pth'))
    assert list(means(records)) == ['exact', 'mae-tuned'] and len(differences(records)) == 12
    before, after = (rows['training_seconds'] for rows in means(records).values())
    assert before == exact['values']['cpu_seconds']['pre-training']
    assert after > tuned['values']['cpu_seconds']['pre-training']
