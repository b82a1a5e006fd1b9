"""mmcv's operators equal values of compiled mmcv 2.3.6, and the stand-in is installed only if needed."""

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import mmcv.ops
import numpy as np
import pytest
import torch

from aemim_mm.det import ops
from aemim_mm.errors import UserError

REFERENCE = np.load(Path(__file__).parents[1] / 'data/mmcv_ops.npz')
CASES = json.loads(str(REFERENCE['meta']))['cases']
IS_STAND_IN = isinstance(sys.modules.get('mmcv._ext'), ops.StandIn)
ONLY_STAND_IN = pytest.mark.skipif(not IS_STAND_IN, reason='this mmcv is compiled')
# mmcv logs a message about its C++ NMS for rotated boxes once.
pytestmark = pytest.mark.filterwarnings('ignore::ImportWarning')


def reference(name):
    return torch.from_numpy(REFERENCE[name])


def cases(op):
    found = [case for case in CASES if case['op'] == op]
    return pytest.mark.parametrize('case', found, ids=[str(case['k']) for case in found])


def test_the_reference_holds_all_cases():
    names = [case['op'] for case in CASES]
    counts = {name: names.count(name) for name in names}
    assert counts == {'roi_align': 24, 'nms': 6, 'soft_nms': 3, 'batched_nms': 2}


@cases('roi_align')
def test_roi_align_and_its_gradient(case):
    k = case['k']
    features = reference('ra_x').requires_grad_()
    layer = mmcv.ops.RoIAlign(
        tuple(case['output_size']), case['spatial_scale'], case['sampling_ratio'], 'avg', case['aligned']
    )
    output = layer(features, reference('ra_rois'))
    output.backward(reference(f'ra{k}_go'))
    torch.testing.assert_close(output, reference(f'ra{k}_y'), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.grad, reference(f'ra{k}_gx'), atol=1e-5, rtol=0)


@cases('nms')
def test_nms(case):
    dets, kept = mmcv.ops.nms(
        reference('nms_boxes'), reference('nms_scores'), case['iou_threshold'], offset=case['offset']
    )
    assert torch.equal(kept, reference(f'nms{case["k"]}_inds'))
    torch.testing.assert_close(dets, reference(f'nms{case["k"]}_dets'), atol=1e-5, rtol=0)


@cases('soft_nms')
def test_soft_nms(case):
    settings = {name: case[name] for name in ('iou_threshold', 'sigma', 'min_score', 'method')}
    dets, kept = mmcv.ops.soft_nms(reference('nms_boxes'), reference('nms_scores'), **settings)
    assert torch.equal(kept, reference(f'soft{case["k"]}_inds'))
    torch.testing.assert_close(dets, reference(f'soft{case["k"]}_dets'), atol=1e-5, rtol=0)


@cases('batched_nms')
def test_batched_nms(case):
    settings = dict(type='nms', iou_threshold=case['iou_threshold'])
    dets, kept = mmcv.ops.batched_nms(
        reference('nms_boxes'), reference('nms_scores'), reference('nms_ids'), settings, case['class_agnostic']
    )
    assert torch.equal(kept, reference(f'bat{case["k"]}_inds'))
    torch.testing.assert_close(dets, reference(f'bat{case["k"]}_dets'), atol=1e-5, rtol=0)


def plain_soft_nms(boxes, scores, *, iou_threshold, sigma, min_score, method, offset):
    """Soft-NMS as in the paper's figure 2, with a loop over boxes."""

    def iou(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0]) + offset
        height = min(a[3], b[3]) - max(a[1], b[1]) + offset
        overlap = max(width, 0) * max(height, 0)
        sizes = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
        return overlap / (sum(sizes) - overlap)

    scores, left, taken = list(scores), list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda index: scores[index])
        left.remove(best)
        taken.append((best, scores[best]))
        for index in list(left):
            overlap = iou(boxes[best], boxes[index])
            if method == 'gaussian':
                scores[index] *= np.exp(-(overlap**2) / sigma)
            elif overlap >= iou_threshold:
                scores[index] *= 1 - overlap if method == 'linear' else 0
            if scores[index] < min_score:
                left.remove(index)
    return taken


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_is_the_papers(method, offset):
    generator = np.random.default_rng(offset)
    corners = generator.uniform(0, 60, (40, 2))
    boxes = np.hstack([corners, corners + generator.uniform(5, 40, (40, 2))]).astype('float32')
    scores = generator.permutation(np.linspace(0.05, 0.99, 40)).astype('float32')
    settings = dict(iou_threshold=0.4, sigma=0.3, min_score=0.04, method=method, offset=offset)
    dets, kept = mmcv.ops.soft_nms(boxes, scores, **settings)
    expected = plain_soft_nms(boxes.astype('float64'), scores.astype('float64'), **settings)
    assert kept.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(dets[:, 4], [score for _, score in expected], atol=1e-5)
    np.testing.assert_array_equal(dets[:, :4], boxes[kept])
    assert 3 < len(kept) < 40


def test_nothing_in_nothing_out():
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    for dets, kept in (mmcv.ops.nms(boxes, scores, 0.5), mmcv.ops.soft_nms(boxes, scores)):
        assert dets.shape == (0, 5) and kept.shape == (0,) and kept.dtype == torch.int64
    output = mmcv.ops.RoIAlign(7, 0.25)(torch.ones(1, 2, 8, 8), torch.zeros(0, 5))
    assert output.shape == (0, 2, 7, 7)


@ONLY_STAND_IN
def test_bfloat16_features():
    features, rois = torch.randn(1, 2, 16, 16), torch.tensor([[0, 2.0, 3, 40, 50]])
    exact = mmcv.ops.RoIAlign(7, 0.25)(features, rois)
    rough = mmcv.ops.RoIAlign(7, 0.25)(features.bfloat16(), rois.bfloat16())
    assert rough.dtype is torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=0.03, rtol=0)


@ONLY_STAND_IN
def test_an_operator_that_is_not_here_says_so():
    with pytest.raises(UserError, match='The operator deform_conv_forward .*pip install'):
        mmcv.ops.deform_conv2d(torch.ones(1, 1, 4, 4), torch.zeros(1, 18, 2, 2), torch.ones(1, 1, 3, 3))
    with pytest.raises(UserError, match="pool_mode='max'"):
        mmcv.ops.RoIAlign(7, 0.25, pool_mode='max')(torch.ones(1, 2, 8, 8), torch.tensor([[0, 1.0, 1, 20, 20]]))


def in_a_new_process(code):
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True)


@ONLY_STAND_IN
def test_it_is_installed_and_logged_once_and_only_by_detection():
    done = in_a_new_process(
        'import sys\nimport aemim_mm\nassert "mmcv._ext" not in sys.modules\n'
        'import aemim_mm.det\nassert aemim_mm.det.install_stand_in() and aemim_mm.det.install_stand_in()\n'
        'import mmdet.models, mmcv.ops\n'
        'from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention as attention\n'
        'assert attention is mmcv.ops.MultiScaleDeformableAttention'
    )
    assert (done.stdout + done.stderr).count('mmcv has no compiled operators') == 1


def test_real_operators_stay(monkeypatch):
    monkeypatch.delitem(sys.modules, ops.NAME, raising=False)
    monkeypatch.setattr(ops, 'find_spec', lambda name: ModuleSpec(name, loader=None))
    assert ops.install_stand_in() is False and ops.NAME not in sys.modules
    compiled = ModuleType(ops.NAME)
    monkeypatch.setitem(sys.modules, ops.NAME, compiled)
    assert ops.install_stand_in() is False and sys.modules[ops.NAME] is compiled
