"""AP of boxes and masks under attack by tools/robustness.py, and the sanity checks of such an AP."""

import json
import shutil
from copy import deepcopy

import pytest
import torch
from helpers import coco_files, coco_shapes, detectors, runs, tiny
from helpers.detectors import image
from torch import nn

from aemim_mm.datasets.corruptions import CORRUPTIONS
from aemim_mm.errors import UserError
from aemim_mm.evaluation.metrics import Interval
from aemim_mm.launch import load_config
from aemim_mm.robustness.conditions import Condition, Measurement, Robustness
from aemim_mm.robustness.detector_sanity import loss_checks
from aemim_mm.robustness.detector_suites import detection_white_box
from aemim_mm.robustness.report import write_results

KINDS = ('classification', 'localisation', 'both')
ATTACK = dict(type='detection', losses='both', eps=4.0, steps=4)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """The same images for training and test, so that the detector finds their objects."""
    root = tmp_path_factory.mktemp('coco')
    for split in ('train', 'val'):
        coco_shapes.make_split(root, split, 8, size=64, seed=1)
    return root


def measure(coco, model, out, *argv):
    torch.save(dict(state_dict=model.state_dict()), out / 'x.pth')
    argv = ('--suite', 'white-box', '--data-root', coco, '--out', out, *argv)
    runs.run('robustness.py', detectors.CONFIG, f'x={out}/x.pth', *argv)
    content = json.loads((out / 'results.json').read_text())
    figures = {name: entry['figures'] for name, entry in content['results']['x'].items()}
    aps = {
        kind: {name: found[f'{kind}_mAP']['estimate'] for name, found in figures.items()} for kind in ('bbox', 'segm')
    }
    return aps, content


@pytest.mark.slow
def test_the_aps_fall_with_eps(coco, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('aemim_mm.robustness.detector_suites.EPS', (2, 8))
    aps, content = measure(coco, detectors.train(coco), tmp_path)
    for found in aps.values():
        assert list(found) == ['clean', *[f'{kind}/{eps}' for kind in KINDS for eps in (2, 8)]]
        assert found['clean'] > 0.4
        for kind in KINDS:
            assert found[f'{kind}/8'] < found[f'{kind}/2'] - 0.05
            assert found[f'{kind}/2'] <= found['clean'] + 0.02
        # 0.4 of the clean AP when this was written.
        assert found['both/8'] < 0.7 * found['clean']
    checks = content['checks']['x']
    # The AP with eps 0 is the clean AP, among others.
    assert len(checks) == 8 and all(check['passed'] for check in checks), checks
    assert checks[0]['name'] == 'eps 0 equals clean AP' and checks[0]['value'] == 0
    charts = {path.name for path in tmp_path.glob('*.svg')}
    assert charts == {f'pgd-10-{kind}-losses.svg' for kind in KINDS}
    assert 'x: ok     AP falls with steps' in capsys.readouterr().out


def test_the_ap_of_a_random_detector_is_not_raised(coco, tmp_path, monkeypatch):
    """With proposals of the perturbed images, the attack on localisation raises the AP of this one from 0 to 0.03."""
    monkeypatch.setattr('aemim_mm.robustness.detector_suites.EPS', (8,))
    for found in measure(coco, detectors.detector(3), tmp_path, '--no-checks')[0].values():
        assert all(value <= found['clean'] + 0.01 for value in found.values())


def test_annotations_are_loaded_as_in_training(coco, tmp_path):
    def without_annotations(cfg):
        cfg.test_dataloader.dataset.pipeline.pop(2)

    def without_training(cfg):
        without_annotations(cfg)
        cfg.train_dataloader = None

    cfg = load_config(detectors.CONFIG, data_root=coco)
    for edit in (lambda cfg: None, without_annotations, without_training):
        edited = deepcopy(cfg)
        edit(edited)
        conditions = detection_white_box(edited)
        assert [condition.name for condition in conditions] == [
            f'{kind}/{eps}' for kind in KINDS for eps in (1, 2, 4, 8)
        ]
        for condition in conditions:
            loading, after = condition.dataset['pipeline'][1:3]
            assert loading == dict(type='LoadAnnotations', with_bbox=True, with_mask=True) and after['type'] == 'Resize'
    # Only the test's own file lacks masks, and nothing but the attack reads them.
    shutil.copytree(coco / 'annotations', tmp_path / 'annotations')
    coco_files.rewrite(coco_files.file(tmp_path, 'val'), coco_files.without('annotations', 'segmentation'))
    without_annotations(cfg)
    cfg.test_dataloader.dataset.data_root = str(tmp_path)
    with pytest.raises(UserError, match='has no segmentation, but the detector learns masks'):
        detection_white_box(cfg)


def outcomes(model, **changes):
    pixels, samples = zip(image((64, 64), 1), image((56, 64), 2))
    batches = [dict(inputs=list(pixels), data_samples=list(samples))]
    return {check.name: check for check in loss_checks(model, batches, {**ATTACK, **changes})}


def test_an_honest_detector_passes_and_is_left_as_it_was():
    model = detectors.detector()
    before = tiny.snapshot(model)
    checks = outcomes(model)
    assert len(checks) == 3 and all(check.passed for check in checks.values()), checks
    tiny.assert_same_snapshot(tiny.snapshot(model), before)


class Wrapped(nn.Module):
    """A backbone behind a function of its images."""

    def __init__(self, backbone, change):
        super().__init__()
        self.backbone, self.change = backbone, change

    def forward(self, x):
        return self.backbone(self.change(x))


def test_a_detector_that_hides_its_gradients_is_caught():
    model = detectors.detector()
    model.backbone = Wrapped(model.backbone, lambda x: (x * 4).round() / 4 + 0 * x)
    check = outcomes(model)['gradients are not zero']
    assert not check.passed and check.value == 1 and '100.0%' in check.explanation


def test_a_randomised_detector_is_caught():
    model = detectors.detector()
    model.backbone = Wrapped(model.backbone, lambda x: x + 0.1 * torch.randn_like(x))
    check = outcomes(model)['the model is deterministic']
    assert not check.passed and check.value > 1e-3


def test_the_summary_of_corruptions_leaves_attacks_out(tmp_path):
    """P, mPC and rPC are of the clean images and the 75 corruptions alone, whatever else was measured."""
    names = {
        'clean': 'clean',
        'both/4': 'PGD',
        **{f'{name}/{s}': 'corruptions' for name in CORRUPTIONS for s in range(1, 6)},
    }
    shown = dict(measure='AP', shown=('bbox_mAP',))
    conditions = {name: Condition(name, group, {}, float(name[-1] == '4'), **shown) for name, group in names.items()}
    values = {name: 0.8 if name == 'clean' else 0.0 if name == 'both/4' else 0.4 for name in names}
    found = {}
    for name, value in values.items():
        interval = Interval(value, float('nan'), float('nan'))
        found[name] = Measurement(name, 0, 8, others={f'bbox_{ap}': interval for ap in ('mAP', 'mAP_50', 'mAP_75')})
    write_results(tmp_path, Robustness(conditions, {'x': found}))
    summary = json.loads((tmp_path / 'results.json').read_text())['summary']['x']
    assert summary['bbox_mAP P'] == 0.8 and summary['bbox_mAP mPC'] == pytest.approx(0.4)
    assert len(summary) == 9 and summary['bbox_mAP rPC'] == pytest.approx(50)
