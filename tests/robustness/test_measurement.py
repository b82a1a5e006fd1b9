"""``measure`` as a function: its results are those of the model itself, and finished measurements are read again."""

import json

import pytest
import torch
from helpers import runs
from helpers.trained import batch, trained_classifier

import aemim_mm
from aemim_mm.errors import UserError
from aemim_mm.evaluation.metrics import Interval
from aemim_mm.robustness.conditions import Measurement
from aemim_mm.robustness.run import Evaluation

CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['aemim_mm', 'helpers.trained'], allow_failed_imports=False)
model = dict(_delete_=True, type='ImageClassifier', backbone=dict(type='SmallConvNet'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32 * 7 * 7))
data_preprocessor = dict(num_classes=10, mean=[73.0], std=[90.0])
"""
FEW = 40


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config and a checkpoint of the trained classifier."""
    folder = tmp_path_factory.mktemp('trained')
    base = runs.CONFIGS / 'demo/vit-tiny-scratch_16e_fashion-mnist.py'
    (folder / 'small.py').write_text(CONFIG.format(base=str(base)))
    torch.save(dict(state_dict=trained_classifier().state_dict()), folder / 'small.pth')
    return folder / 'small.py', folder / 'small.pth'


def right(model):
    return [bool(sample.pred_label == sample.gt_label) for sample in model.test_step(batch(FEW))]


def test_the_results_are_those_of_the_model_and_are_kept(trained, tmp_path, monkeypatch):
    config, checkpoint = trained
    monkeypatch.setattr('aemim_mm.robustness.suites.EPS', (4,))
    options = [f'test_dataloader.dataset.limit={FEW}', f'test_dataloader.batch_size={FEW}']
    settings = dict(suites=['white-box'], out=tmp_path, options=options, checks=False)
    found = aemim_mm.robustness.measure(config, f'net={checkpoint}', **settings)
    measured = found.measurements['net']
    assert list(measured) == list(found.conditions)
    assert {'clean', 'fgsm/4', 'pgd/4', 'margin/4', 'l2/0.5'} <= set(measured)
    assert not found.missing and not found.checks

    model = trained_classifier()
    expected = right(model)
    assert measured['clean'].correct.tolist() == expected and measured['clean'].count == FEW
    expected = right(aemim_mm.robustness.AttackedModel(model, found.conditions['fgsm/4'].attack))
    assert measured['fgsm/4'].correct.tolist() == expected
    assert measured['fgsm/4'].accuracy == pytest.approx(100 * sum(expected) / FEW)
    assert measured['fgsm/4'].accuracy < measured['clean'].accuracy

    written = json.loads((tmp_path / 'results.json').read_text())['results']['net']
    assert {name: entry['accuracy'] for name, entry in written.items()} == {
        name: one.accuracy for name, one in measured.items()
    }
    assert 'fgsm/4' in found.table
    monkeypatch.setattr(Evaluation, '_evaluate', lambda *_: pytest.fail('measured again'))
    assert aemim_mm.robustness.measure(config, f'net={checkpoint}', **settings).table == found.table


def test_only_some_conditions_are_measured(trained, tmp_path, monkeypatch):
    config, checkpoint = trained
    monkeypatch.setattr('aemim_mm.robustness.suites.EPS', (2, 4))
    settings = dict(suites=['white-box', 'encoder'], out=tmp_path, limit=4, checks=False)
    found = aemim_mm.robustness.measure(config, f'net={checkpoint}', only=['fgsm/4', 'feature*/2'], **settings)
    assert list(found.measurements['net']) == ['clean', 'fgsm/4', 'feature-attack/2', 'features/2']
    with pytest.raises(UserError, match="No condition of these suites is called 'pgd/8'. Known: clean, fgsm/2, fgsm/4"):
        aemim_mm.robustness.measure(config, f'net={checkpoint}', only=['fgsm/4', 'pgd/8'], **settings)


def test_a_measurement_is_read_only_if_it_is_whole_and_has_the_same_fingerprint(tmp_path):
    path = tmp_path / 'a.json'
    measured = Measurement('a/1', 2.0, 3, others=dict(x=Interval(1.0, 0.5, float('inf'))))
    measured.write(path, 'one')
    assert Measurement.read(path, 'one') == measured and Measurement.read(path, 'other') is None
    path.write_text(path.read_text()[:20])
    assert Measurement.read(path, 'one') is None


def test_bad_arguments(trained):
    config, checkpoint = trained
    with pytest.raises(UserError, match='number of images, at least 1, but got 0'):
        aemim_mm.robustness.measure(config, checkpoint, limit=0)
    with pytest.raises(UserError, match=f'Two checkpoints are called {checkpoint.parent.name}-small'):
        aemim_mm.robustness.measure(config, checkpoint, compare=[str(checkpoint)])
