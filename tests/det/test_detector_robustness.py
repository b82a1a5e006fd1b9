"""COCO-C by tools/robustness.py, with a detector that knows the objects and omits more of them under noise."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from helpers import coco_shapes, runs
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import InstanceData

from aemim_mm.datasets.corruptions import CORRUPTIONS, SEVERITIES
from aemim_mm.det.robustness import CocoFigures, mmdets_evaluation, mmdets_own_summary, summarize
from aemim_mm.evaluation.metrics import performance_under_corruption

CONFIG = runs.REPO / 'tests/det/robustness_config.py'


@MODELS.register_module()
class Seeing(BaseModel):
    """A detector that returns the true objects without some, which depend on the pixels of the image."""

    def __init__(self, bbox_head=None, data_preprocessor=None):
        super().__init__(BaseDataPreprocessor())
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for image, sample in zip(inputs, data_samples):
            truth = sample.gt_instances
            height, width = sample.ori_shape
            kept = torch.tensor([(int(image.sum()) + number) % 3 > 0 for number in range(len(truth))], dtype=torch.bool)
            sample.pred_instances = InstanceData(
                bboxes=truth.bboxes.tensor[kept],
                labels=truth.labels[kept],
                scores=torch.full((int(kept.sum()),), 0.9),
                masks=truth.masks.to_tensor(torch.bool, 'cpu')[kept][:, :height, :width],
            )
        return data_samples


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp('coco')
    coco_shapes.make_split(root, 'val', 6, seed=1)
    torch.save(dict(state_dict=Seeing().state_dict()), root / 'seeing.pth')
    shutil.copy(root / 'seeing.pth', root / 'other.pth')
    return root


def measure(coco, out, *argv):
    runs.run('robustness.py', CONFIG, f'x={coco}/seeing.pth', '--data-root', coco, '--out', out, *argv)
    return json.loads((out / 'results.json').read_text())


@pytest.mark.slow
def test_all_corruptions_and_again(coco, tmp_path, capsys):
    flags = ('--suite', 'clean', 'corruptions', '--limit', 2)
    content = measure(coco, tmp_path, *flags)
    text = capsys.readouterr().out
    found = content['results']['x']
    assert len(found) == 76
    aps = {name: entry['figures']['segm_mAP']['estimate'] for name, entry in found.items()}
    assert len(set(aps.values())) > 3
    expected = performance_under_corruption(
        aps['clean'], {name: {s: aps[f'{name}/{s}'] for s in SEVERITIES} for name in CORRUPTIONS}
    )
    for key, value in expected.items():
        assert content['summary']['x'][f'segm_mAP {key}'] == value
    # mmdet prints the same for masks in its second table.
    rpc = re.findall(r'rPC\] \(segm\)\nmAP   => +([\d.]+) %', text)
    assert len(rpc) == 1 and float(rpc[0]) == pytest.approx(expected['rPC'], abs=0.06)
    assert 'x: segm_mAP mPC' in text and 'fog/3 segm_mAP' in (tmp_path / 'results.csv').read_text()
    assert (tmp_path / 'corruptions.svg').exists() and 'mPC' in (tmp_path / 'report.html').read_text()

    # After an interruption, only lost results are measured again.
    parts = sorted((tmp_path / 'parts/x').glob('*.json'))
    times = {path: path.stat().st_mtime_ns for path in parts}
    parts[3].unlink()
    assert measure(coco, tmp_path, *flags)['results']['x'] == found
    assert [path for path in parts if path.stat().st_mtime_ns != times[path]] == [parts[3]]


def test_a_part_of_the_images_is_judged_by_itself(coco, tmp_path):
    """The oracle is mmdet's own metric with an annotation file of these images only."""
    found = measure(coco, tmp_path, '--limit', 3, '--compare', f'y={CONFIG}:{coco}/other.pth')['results']
    assert found['x'] == found['y']
    found = found['x']['clean']
    assert found['count'] == 3
    chosen = sorted(np.random.default_rng(0).permutation(6)[:3].tolist())
    file = coco / 'annotations/instances_val2017.json'
    content = json.loads(file.read_text())
    ids = {content['images'][index]['id'] for index in chosen}
    for key, name in (('images', 'id'), ('annotations', 'image_id')):
        content[key] = [item for item in content[key] if item[name] in ids]
    original = file.read_text()
    try:
        file.write_text(json.dumps(content))
        whole = measure(coco, tmp_path / 'whole')['results']['x']['clean']
    finally:
        file.write_text(original)
    assert whole['figures'] == found['figures'] and found['figures']['bbox_mAP']['estimate'] > 0
    assert found['figures']['bbox_mAP'] == dict(estimate=found['figures']['bbox_mAP']['estimate'], low=None, high=None)


@pytest.mark.parametrize('suite', ['cw', 'autoattack', 'encoder', 'shift'])
def test_what_is_not_for_detectors(coco, tmp_path, capsys, suite):
    with pytest.raises(SystemExit) as end:
        measure(coco, tmp_path, '--suite', suite)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count('error:') == 1
    assert f'The suite {suite} is not for a detector, as Seeing is.' in error
    assert 'Offered for one: --suite clean or corruptions or white-box' in error


def test_a_metric_that_is_not_cocos(coco, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        measure(coco, tmp_path, '--cfg-options', 'test_evaluator.type=VOCMetric')
    assert (
        end.value.code == 2
        and 'measured by CocoMetric, but the test_evaluator is of type VOCMetric' in capsys.readouterr().err
    )


def figures(seed):
    generator = np.random.default_rng(seed)
    names = [f'{kind}_{item}' for kind in ('bbox', 'segm') for item in ('mAP', 'mAP_50', 'mAP_75', 'mAP_l')]
    parts = ['clean', *[f'{name}/{severity}' for name in CORRUPTIONS for severity in SEVERITIES]]
    return {part: {name: -1.0 if name[-1] == 'l' else generator.random() for name in names} for part in parts}


def test_the_summary_is_mmdets(tmp_path):
    found = figures(0)
    text = mmdets_own_summary(found, tmp_path / 'x.pkl')
    assert mmdets_evaluation() is not None
    ours = summarize(found)
    assert not any('mAP_l' in name for name in ours)
    for kind in ('bbox', 'segm'):
        for key, pattern, scale in (('P', r'\[P\]', 1), ('mPC', r'\[mPC\]', 1), ('rPC', r'\[rPC\]', 1)):
            lines = re.search(rf'{pattern} \({kind}\)((?:\n *mAP.*)+)', text)[1]
            theirs = {name: float(value) for name, value in re.findall(r'(mAP\w*) +=>? +([\d.]+)', lines)}
            assert list(theirs) == ['mAP', 'mAP_50', 'mAP_75']
            for name, value in theirs.items():
                assert ours[f'{kind}_{name} {key}'] == pytest.approx(value * scale, abs=0.06 if key == 'rPC' else 6e-4)


def test_without_mmdets_tools_there_is_still_our_summary(tmp_path, monkeypatch):
    monkeypatch.setattr('aemim_mm.det.robustness.mmdet.__file__', str(tmp_path / 'mmdet/__init__.py'))
    assert mmdets_own_summary(figures(1), tmp_path / 'x.pkl') == '' and (tmp_path / 'x.pkl').is_file()


def test_a_detector_that_finds_nothing_has_no_ap(coco):
    metric = CocoFigures(ann_file=str(coco / 'annotations/instances_val2017.json'), metric=['bbox', 'segm'])
    assert isinstance(metric, CocoMetric)
    metric.dataset_meta = dict(classes=coco_shapes.CLASSES)
    nothing = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, dtype=int), masks=[])
    metric.results = [(dict(img_id=1, width=128, height=128), dict(nothing, img_id=1))]
    metric.evaluate(1)
    assert {name: interval.estimate for name, interval in metric.figures.items()}['segm_mAP'] == 0
