"""`make demo`: how it reads logs, when a job starts anew, how failures end, and a small run of everything."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from demo_report import demo_figures
from helpers import runs
from PIL import Image
from torch.utils.data import Subset

from aemim_mm.apis.pretrained import build_model
from aemim_mm.datasets.of_config import labelled_data
from aemim_mm.report.scalars import read_scalars


def write_log(folder, *rows):
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data/scalars.json').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))


def test_scalars_of_a_resumed_run_are_merged(tmp_path):
    first = [dict(step=step, loss=float(step), lr=0.1) for step in (1, 2, 3, 4)]
    second = [dict(step=step, loss=10.0 * step, attack_gain=3.0) for step in (3, 4, 5)]
    write_log(tmp_path / '20260101_000000', *first, {'accuracy/top1': 50.0, 'step': 4})
    write_log(tmp_path / '20260101_000100', *second)
    scalars = read_scalars(tmp_path)
    # The resumed run repeated the iterations after the last checkpoint.
    assert scalars['loss'] == ((1, 2, 3, 4, 5), (1.0, 2.0, 30.0, 40.0, 50.0))
    assert scalars['lr'] == ((1, 2), (0.1, 0.1)) and scalars['attack_gain'] == ((3, 4, 5), (3.0, 3.0, 3.0))
    assert 'accuracy/top1' not in scalars
    assert read_scalars(tmp_path, 'accuracy/top1')['accuracy/top1'] == ((4,), (50.0,))


def test_the_last_accuracy_is_that_of_the_last_test(tmp_path):
    write_log(tmp_path / '20260101_000000', {'accuracy/top1': 50.0, 'step': 4}, dict(step=5, loss=1.0))
    write_log(tmp_path / '20260101_000100', {'accuracy/top1': 60.5, 'step': 8})
    assert read_scalars(tmp_path, 'accuracy/top1')['accuracy/top1'] == ((4, 8), (50.0, 60.5))


def test_the_untrained_encoder_is_the_same_each_time_and_the_checkpoint_is_loaded(tmp_path):
    first, second = build_model(runs.AEMIM), build_model(runs.AEMIM)
    assert not first.training
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    torch.nn.init.ones_(first.backbone.cls_token)
    torch.save(first.state_dict(), tmp_path / 'some.pth')
    assert (build_model(runs.AEMIM, tmp_path / 'some.pth').backbone.cls_token == 1).all()


@pytest.mark.parametrize(('split', 'count'), [('train', 5000), ('test', 2000)])
def test_probes_see_whole_images_without_augmentation(split, count):
    dataset = labelled_data(runs.AEMIM, split)
    raw = np.stack([dataset.get_data_info(index)['img'] for index in range(20)])
    assert len(dataset) == count
    np.testing.assert_array_equal(torch.stack([dataset[index]['inputs'][0] for index in range(20)]).numpy(), raw)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Return the module tools/demo.py with a repository that the test may change."""
    module = runs.tool('demo.py')
    shutil.copytree(runs.CONFIGS, tmp_path / 'configs')
    (tmp_path / 'aemim_mm/data').mkdir(parents=True)
    (tmp_path / 'aemim_mm/domain.py').write_text('code')
    (tmp_path / 'aemim_mm/data/images-ubyte').write_bytes(b'data')
    monkeypatch.setattr(module, 'REPOSITORY', tmp_path)
    return module


@pytest.fixture
def training(demo, tmp_path):
    """Return a fine-tuning job, which needs a pre-training job."""
    folder = tmp_path / 'configs/demo'
    encoder = demo.Job('pre-training AEMIM', folder / runs.AEMIM.name, tmp_path / 'encoder', 0.5)
    return demo.Job('fine-tuning AEMIM', folder / 'vit-tiny_16e_fashion-mnist.py', tmp_path / 'work', 0.1, (encoder,))


def finish(training):
    training.folder.mkdir(exist_ok=True)
    training.result.touch()
    (training.folder / 'done.json').write_text(json.dumps(dict(fingerprint=training.fingerprint(), seconds=1)))


@pytest.mark.parametrize(
    'changed',
    [
        f'configs/demo/{runs.AEMIM.name}',
        'configs/_base_/demo_vit.py',
        'aemim_mm/domain.py',
        'aemim_mm/data/images-ubyte',
    ],
)
def test_a_change_of_what_the_result_depends_on_trains_anew(training, tmp_path, changed):
    (encoder,) = training.needs
    assert not encoder.is_done()
    finish(encoder)
    assert encoder.is_done()
    encoder.result.unlink()
    assert not encoder.is_done(), 'the checkpoint is gone'
    encoder.result.touch()
    (tmp_path / 'configs/aemim_vit-b_800e.py').write_text('# has nothing to do with it')
    assert encoder.is_done()
    with (tmp_path / changed).open('ab') as file:
        file.write(b'\n# changed\n')
    assert not encoder.is_done()


def test_a_new_encoder_is_fine_tuned_anew(training):
    assert not training.is_done(), 'there is no encoder'
    finish(training.needs[0])
    finish(training)
    assert training.is_done()
    training.needs[0].result.write_bytes(b'another one')
    assert training.needs[0].is_done() and not training.is_done()
    finish(training)
    assert training.is_done()
    (training.needs[0].folder / 'done.json').unlink()
    assert not training.is_done(), 'the encoder is to be trained anew, and this after it'


def test_a_failed_training_ends_with_its_last_words(demo, training, tmp_path):
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/train.py').write_text("import sys\nprint('so much for that')\nsys.exit(3)\n")
    with pytest.raises(SystemExit, match='pre-training AEMIM failed with exit code 3(?s:.*)so much for that'):
        demo.run_all([training.needs[0]])
    assert not (training.needs[0].folder / 'done.json').exists()


def test_a_failed_job_ends_the_others(demo, training, tmp_path):
    """The other job would write its checkpoint after a minute; its process is gone before ``run_all`` ends."""
    (encoder,) = training.needs
    other = encoder._replace(name='other', folder=tmp_path / 'other')
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/train.py').write_text(
        'import os, sys, time\nfrom pathlib import Path\nfolder = Path(sys.argv[sys.argv.index("--work-dir") + 1])\n'
        'pid = folder.parent / "other/pid"\n'
        'if folder.name == "other":\n    pid.write_text(str(os.getpid()))\n    time.sleep(60)\n'
        'while not pid.exists() or not pid.read_text():\n    time.sleep(0.05)\nsys.exit(3)\n'
    )
    with pytest.raises(SystemExit, match='pre-training AEMIM failed with exit code 3'):
        demo.run_all([encoder, other])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'other/pid').read_text()), 0)
    assert not (other.folder / 'done.json').exists()


COUNTER = itertools.count()
SMALL = """
_base_ = {base!r}
model = dict(backbone=dict(arch=dict(num_layers=1)))
train_dataloader = dict(batch_size=50, dataset=dict(limit=100))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=16))
"""


def run_here(jobs):
    """Run jobs in this process, and check what their progress bars would show.

    Only the first attack is carried out. The others get its results with other accuracies.
    """
    attacked = None
    for job in jobs:
        _, tool, *argv = job.command()
        if job.tool == 'attack' and attacked:
            found = re.sub(r'"accuracy": [\d.]+', lambda _: f'"accuracy": {next(COUNTER) / 2}', attacked)
            job.result.write_text(found)
            finish(job)
            continue
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            runs.run(Path(tool).relative_to(runs.REPO / 'tools'), *argv)
        fractions, words = [0.0], ''
        log = runs.log_of(job.folder) if job.tool == 'train' else shown.getvalue()
        for line in log.splitlines():
            fraction, found = job.progress(line, fractions[-1])
            fractions, words = [*fractions, fraction], found or words
        if job.tool != 'probe':
            assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1), job.name
            assert re.fullmatch(r'epoch 16 of 16, loss \d\.\d+|\d+(\.\d+)? under [\w/-]+', words), words
        attacked = job.result.read_text() if job.tool == 'attack' else attacked
        finish(job)


@pytest.mark.slow
def test_the_demo_in_small_and_again(tmp_path, monkeypatch, capsys):
    module = runs.tool('demo.py')
    (tmp_path / 'configs/demo').mkdir(parents=True)
    monkeypatch.setattr(module, 'ATTACKED', 20)
    for names in ('CONFIGS', 'FINE_TUNING', 'ROBUST_FINE_TUNING'):
        small = {name: tmp_path / 'configs/demo' / path.name for name, path in getattr(module, names).items()}
        for name, path in small.items():
            path.write_text(SMALL.format(base=str(getattr(module, names)[name])))
        monkeypatch.setattr(module, names, small)
    monkeypatch.setattr(module, 'run_all', run_here)
    # The probes see a few of the images.
    few = 'aemim_mm.datasets.of_config.labelled_data'
    monkeypatch.setattr(few, lambda *args: Subset(labelled_data(*args), range(300)))
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--robust', '--out', str(tmp_path / 'out')])
    module.main()
    shown, out = capsys.readouterr().out, tmp_path / 'out'
    assert 'report.html' in shown and 'aemim/epoch_16.pth' in shown
    assert 'tools/train.py configs/aemim_vit-b_folder.py --data-root DIR' in shown.splitlines()[-1]
    report = (out / 'report.html').read_text()
    assert 'http://' not in report.replace('http://www.w3.org', '') and 'data:image/png;base64,' in report
    texts = ('AEMIM, 16 epochs', 'MAE, 16 epochs', 'untrained', 'adversarial example', 'perturbation x63')
    for text in (
        *texts,
        'How far features move',
        'AEMIM, gap of domains',
        'Effective rank',
        'k-NN during pre-training',
    ):
        assert text in report, text
    # The table has the accuracies that the trainings logged. Each training began with its encoder.
    table = report[report.index('<h2>Fine-tuned</h2>') :].split('</section>')[0]
    assert 'trained with 100 labelled images for 16 epochs' in table
    for row, folder in (('from scratch', 'scratch'), ('MAE, 16 epochs', 'mae'), ('AEMIM, 16 epochs', 'aemim')):
        log = runs.log_of(out / f'finetuned-{folder}')
        (shown,) = re.findall(rf'{row}</th>.*?(\d+\.\d)', table, re.DOTALL)
        (logged,) = re.findall(r'accuracy/top1: (\d+\.\d+)', log)
        assert float(shown) == pytest.approx(float(logged), abs=0.051)
        assert (f'{out}/{folder}/epoch_16.pth' in log) is (folder != 'scratch')
    # The table has the accuracies that tools/robustness.py wrote.
    table = report[report.index('<h2>Robustness</h2>') :].split('</section>')[0]
    found = json.loads((out / 'attacked-pgd-at-mae/results.json').read_text())['results']['top-1']
    (row,) = re.findall(r'MAE, 16 epochs, PGD-AT</th>(.*?)</tr>', table, re.DOTALL)
    figures = [float(figure) for figure in re.findall(r'>(\d+\.\d)<', row)]
    parts = ('clean', 'fgsm/4', 'pgd/2', 'pgd/4', 'pgd/8')
    assert figures[:5] == [pytest.approx(found[part]['accuracy'], abs=0.051) for part in parts] and len(figures) == 6
    with Image.open(out / 'panels.png') as panels:
        assert panels.size[0] > 7 * 112
    figures = demo_figures(out, robust=True)
    assert json.loads(json.dumps(figures)) == figures, 'plain values only'
    frozen = figures['frozen']
    assert list(frozen) == ['untrained', 'MAE', 'AEMIM'] and all(0 < row['linear'] <= 100 for row in frozen.values())
    assert list(figures['robustness']['MAE, 16 epochs, PGD-AT'].values())[:5] == [
        found[part]['accuracy'] for part in parts
    ]
    assert figures['attacked_images'] == 20 and len(figures['seconds']) == 8
    assert len(demo_figures(out)['robustness']) == 3

    before = (out / 'aemim/epoch_16.pth').stat().st_mtime_ns
    with mock.patch.object(module, 'run_all', side_effect=AssertionError('trained again')):
        module.main()
    shown = capsys.readouterr().out
    assert shown.count('done already') == 16 and 'fine-tuning MAE: done already' in shown
    assert (out / 'aemim/epoch_16.pth').stat().st_mtime_ns == before


RECORD = """
import json, sys
from pathlib import Path
work_dir = Path(sys.argv[sys.argv.index('--work-dir') + 1])
with (work_dir / 'calls').open('a') as file:
    print('resume' if '--resume' in sys.argv else 'anew', len(list(work_dir.glob('*.pth'))), file=file)
(work_dir / 'epoch_16.pth').touch()
sys.exit(Path(__file__).with_name('code').read_text() == '1')
"""


def test_an_interrupted_training_is_resumed_and_a_changed_one_is_not(demo, training, tmp_path, capsys):
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/train.py').write_text(RECORD)
    (training,) = training.needs
    capsys.readouterr()

    def train(code):
        (tmp_path / 'tools/code').write_text(str(code))
        try:
            demo.run_all([training])
        except SystemExit:
            return False
        return training.is_done()

    assert not train(1)
    assert train(0), 'goes on from its checkpoint'
    training.config.write_text(training.config.read_text() + '# changed\n')
    assert not training.is_done() and train(0), 'starts in an empty folder'
    training.result.unlink()
    assert not training.is_done() and train(0), 'starts again, since there is nothing to resume'
    assert (training.folder / 'calls').read_text().splitlines() == ['anew 0', 'resume 1', 'anew 0', 'anew 0']
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r', log in .*|\d+ s', '', line) for line in lines if line.startswith('pre-training')] == [
        'pre-training AEMIM: started',
        *['pre-training AEMIM: started', 'pre-training AEMIM: done in '] * 3,
    ]
