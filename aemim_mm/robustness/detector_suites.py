"""Suites for detectors of mmdet, whose metric is the ``CocoMetric`` of their config."""

from mmengine.config import Config

from ..datasets.corruptions import CORRUPTIONS, SEVERITIES, functions
from ..datasets.of_config import annotation_file, as_list, datasets, kind_of
from ..datasets.shift_pipelines import annotated_detection, corrupted_detection
from ..errors import UserError
from .attacked_detector import DETECTION, LOSSES
from .conditions import EPS, Condition, images_of

STEPS = 10


def _detected(cfg: Config, name: str, group: str, dataset: dict, strength=0.0, **fields) -> Condition:
    """A condition whose metric is the config's CocoMetric; ``CocoFigures`` is CocoMetric and stores its results."""
    evaluators = as_list(cfg.test_evaluator)
    found = [dict(one) for one in evaluators if str(one['type']).split('.')[-1] in ('CocoMetric', 'CocoFigures')]
    if not found:
        raise UserError(
            f'Robustness of detectors is measured by CocoMetric, but the test_evaluator is of type '
            f'{", ".join(str(one["type"]) for one in evaluators)}. Take a config with data in the format of COCO.'
        )
    kinds = found[0].get('metric', 'bbox')
    shown = tuple(f'{kind}_mAP' for kind in as_list(kinds))
    metric = {**found[0], 'type': 'CocoFigures', 'prefix': None, 'format_only': False, 'outfile_prefix': None}
    return Condition(name, group, dataset, strength, metric=metric, measure='AP', shown=shown, **fields)


def clean_detection(cfg: Config) -> list:
    """The images of the config, without a perturbation."""
    return [_detected(cfg, 'clean', 'clean', images_of(cfg))]


def detection_corruptions(cfg: Config) -> list:
    """COCO-C: the 15 corruptions at 5 severities, applied to the config's own test images when they are loaded."""
    functions()
    conditions = []
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            dataset = images_of(cfg)
            dataset['pipeline'] = corrupted_detection(dataset['pipeline'], name, severity)
            conditions.append(_detected(cfg, f'{name}/{severity}', 'corruptions', dataset, float(severity)))
    return conditions


def detection_white_box(cfg: Config) -> list:
    """PGD-10 in L-inf on the losses of classification, on those of localisation, and on all."""
    loading, conditions = _loading(cfg), []
    for losses in LOSSES:
        for eps in EPS:
            dataset = images_of(cfg)
            dataset['pipeline'] = annotated_detection(dataset['pipeline'], loading)
            attack = dict(type=DETECTION, losses=losses, eps=float(eps), steps=STEPS)
            group = f'PGD-{STEPS}, {losses} losses'
            conditions.append(_detected(cfg, f'{losses}/{eps}', group, dataset, float(eps), attack=attack))
    return conditions


def _loading(cfg: Config) -> dict:
    """Return the step that loads annotations in training, which knows whether masks are learned; else in the test.

    Raises:
        UserError: Training needs masks, the test does not, and the annotation file of the test has none.
    """
    train, test = (_loading_steps(cfg, loader) for loader in ('train_dataloader', 'test_dataloader'))
    if not train and not test:
        masks = any('segm' in as_list(one.get('metric', 'bbox')) for one in as_list(cfg.test_evaluator))
        return dict(type='LoadAnnotations', with_bbox=True, with_mask=masks)
    loading = [*train, *test][0]
    if loading.get('with_mask') and not any(step.get('with_mask') for step in test):
        _check_masks(cfg)
    return loading


def _loading_steps(cfg: Config, loader: str) -> list[dict]:
    pipelines = [dataset.get('pipeline') or () for dataset in datasets(cfg, (loader,))]
    return [dict(step) for pipeline in pipelines for step in pipeline if kind_of(step) == 'LoadAnnotations']


def _check_masks(cfg: Config) -> None:
    from ..det.annotation_files import read_annotations
    from ..det.annotation_masks import check_masks

    for path in map(annotation_file, datasets(cfg, ('test_dataloader',))):
        if '://' not in path:
            check_masks(path, read_annotations(path), 'the detector learns masks, whose losses are attacked')


DETECTOR_SUITES = {
    'clean': clean_detection,
    'corruptions': detection_corruptions,
    'white-box': detection_white_box,
}
