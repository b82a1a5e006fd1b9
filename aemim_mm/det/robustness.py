"""COCO-C: average precision under corruption, by mmdet's ``CocoMetric`` and its own robustness evaluation."""

import contextlib
import importlib.util
import io
import pickle
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import mmdet
import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import METRICS

from ..evaluation.metrics import Interval, performance_under_corruption
from .annotation_files import CocoAnnotations

ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
KINDS = ('bbox', 'segm')


@METRICS.register_module()
class CocoFigures(CocoMetric):
    """mmdet's ``CocoMetric`` that checks its annotation file, stores its results and can evaluate a part of the images.

    ``CocoMetric`` counts the objects of images that were not tested as missed.

    Args:
        part: Evaluate only the images that were tested.
        **kwargs: Arguments of ``CocoMetric``.

    Attributes:
        figures: After ``evaluate``, on the main process only: for each name, such as ``'bbox_mAP'``, an ``Interval``
            with the value in [0, 1], or -1 if there is no such object. The ends of the interval are NaN (unknown).
    """

    figures = None

    def __init__(self, ann_file: str | None = None, *args, part: bool = False, **kwargs):
        # mmdet's class would read the file by pycocotools, which fails for what ``read_annotations`` mends.
        with patch.object(coco_metric, 'COCO', CocoAnnotations):
            super().__init__(ann_file, *args, **kwargs)
        self.part = part

    def compute_metrics(self, results: list) -> dict:
        """Compute mmdet's metrics, and store the results in ``figures``."""
        if self.part:
            self.img_ids = [truth['img_id'] for truth, _ in results]
        found = dict(super().compute_metrics(results))
        # Without any detection, mmdet returns no metrics.
        names = [f'{kind}_{item}' for kind in self.metrics if kind in KINDS for item in ITEMS]
        values = {name: float(found.get(name, 0.0)) for name in names}
        self.figures = {name: Interval(value, float('nan'), float('nan')) for name, value in values.items()}
        return found


def mmdets_own_summary(figures: dict, file: Path) -> str:
    """Run mmdet's ``robustness_eval.py``.

    Args:
        figures: ``{'clean': {name: AP}, 'fog/3': {name: AP}, ...}`` for all 15 corruptions at all 5 severities.
        file: Where to write the input of ``robustness_eval.py``, a pickle as mmdet's ``test_robustness.py`` writes it.

    Returns:
        The text that it prints: P, mPC and rPC of boxes and masks. Empty if mmdet is installed without its tools.
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
    # P may be 0, and rPC divides by it.
    with contextlib.redirect_stdout(text), np.errstate(divide='ignore', invalid='ignore'):
        for kind in _kinds(figures):
            evaluation.get_coco_style_results(str(file), task=kind, metric=['mAP', 'mAP_50', 'mAP_75'], prints='all')
    return text.getvalue().strip()


def summarize(figures: dict) -> dict:
    """Compute P and mPC (0-1) and rPC (percent) of each AP.

    Args:
        figures: As in :func:`mmdets_own_summary`.

    Returns:
        ``{'bbox_mAP mPC': value, ...}`` without the APs of kinds of objects that do not occur.
    """
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


def mmdets_evaluation() -> ModuleType | None:
    """Load mmdet's ``tools/analysis_tools/robustness_eval.py``; return None if mmdet is installed without its tools."""
    package = Path(mmdet.__file__).parent
    for root in (package / '.mim', package.parent):
        file = root / 'tools/analysis_tools/robustness_eval.py'
        if file.is_file():
            spec = importlib.util.spec_from_file_location('mmdet_robustness_eval', file)
            assert spec is not None and spec.loader is not None  # The name of a Python file has a loader.
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


def _prefixed(figures: dict) -> dict:
    return {f'coco/{name}': value for name, value in figures.items()}


def _kinds(figures: dict) -> list:
    return [kind for kind in KINDS if f'{kind}_mAP' in figures['clean']]
