"""COCO-C: average precision under corruption, through mmdet's CocoMetric and its own robustness evaluation."""

import contextlib
import importlib.util
import io
import pickle
from pathlib import Path

import mmdet
import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

from ..evaluation.metrics import Interval, performance_under_corruption

ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
KINDS = ('bbox', 'segm')


@METRICS.register_module()
class CocoFigures(CocoMetric):
    """mmdet's ``CocoMetric`` that keeps its figures, and judges the images that were tested only.

    With a part of the images, ``CocoMetric`` counts the objects of all others as missed.

    Args:
        part: Only a part of the images of the annotation file is tested.
        **kwargs: Of ``CocoMetric``.

    Attributes:
        figures: Name, such as ``bbox_mAP``, to ``Interval`` (whose ends are not known: NaN), 0-1; -1 where there is no
            such object. Once ``evaluate`` is done; on the main process only.
    """

    figures = None

    def __init__(self, *args, part=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.part = part

    def compute_metrics(self, results) -> dict:
        if self.part:
            self.img_ids = [truth['img_id'] for truth, _ in results]
        found = dict(super().compute_metrics(results))
        # Without any detection, mmdet gives none of them.
        names = [f'{kind}_{item}' for kind in self.metrics if kind in KINDS for item in ITEMS]
        values = {name: float(found.get(name, 0.0)) for name in names}
        self.figures = {name: Interval(value, float('nan'), float('nan')) for name, value in values.items()}
        return found


def mmdets_own_summary(figures: dict, file: Path) -> str:
    """What mmdet's ``robustness_eval.py`` says, and its input, as mmdet's ``test_robustness.py`` writes it.

    Args:
        figures: ``{'clean': {name: AP}, 'fog/3': {name: AP}, ...}``, all 15 corruptions at all 5 severities.
        file: Where to write its input, a pickle.

    Returns:
        Its text: P, mPC and rPC of boxes and masks; empty where mmdet is installed without its tools.
    """
    results = {}
    for name, found in figures.items():
        if name != 'clean':
            corruption, severity = name.split('/')
            by_severity = results.setdefault(corruption, {0: _prefixed(figures['clean'])})
            by_severity[int(severity)] = _prefixed(found)
    file.write_bytes(pickle.dumps(results))
    evaluation = mmdets_evaluation()
    if evaluation is None:
        return ''
    text = io.StringIO()
    # P may be 0.
    with contextlib.redirect_stdout(text), np.errstate(divide='ignore', invalid='ignore'):
        for kind in _kinds(figures):
            evaluation.get_coco_style_results(str(file), task=kind, metric=['mAP', 'mAP_50', 'mAP_75'], prints='all')
    return text.getvalue().strip()


def summarize(figures: dict) -> dict:
    """P, mPC (0-1) and rPC (percent) of each AP that there are objects for; ``figures`` as in mmdets_own_summary."""
    summary = {}
    for name, clean in figures['clean'].items():
        if clean < 0:
            continue
        scores = {}
        for part, found in figures.items():
            if part != 'clean':
                corruption, severity = part.split('/')
                scores.setdefault(corruption, {})[int(severity)] = found[name]
        for key, value in performance_under_corruption(clean, scores).items():
            if value is not None:
                summary[f'{name} {key}'] = value
    return summary


def mmdets_evaluation():
    """The module ``tools/analysis_tools/robustness_eval.py`` of mmdet, or None: it is beside the package, not in it."""
    package = Path(mmdet.__file__).parent
    for root in (package / '.mim', package.parent):
        file = root / 'tools/analysis_tools/robustness_eval.py'
        if file.is_file():
            spec = importlib.util.spec_from_file_location('mmdet_robustness_eval', file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


def _prefixed(figures: dict) -> dict:
    return {f'coco/{name}': value for name, value in figures.items()}


def _kinds(figures: dict) -> list:
    return [kind for kind in KINDS if f'{kind}_mAP' in figures['clean']]
