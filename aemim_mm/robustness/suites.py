"""What is measured under which name: suites of parts for tools/robustness.py."""

from copy import deepcopy
from dataclasses import replace

from mmengine.config import Config

from ..datasets.corruptions import CORRUPTIONS, SEVERITIES, functions
from ..datasets.shift_pipelines import corrupted, corrupted_detection, native_size
from ..errors import UserError, unknown_name
from .attacked_classifier import build_attack
from .attacked_encoder import ENCODER_ATTACKS
from .measurement import Part

EPS = (1, 2, 4, 8)


def _tested(cfg: Config) -> dict:
    dataset = cfg.test_dataloader.dataset
    return dataset.to_dict() if hasattr(dataset, 'to_dict') else deepcopy(dict(dataset))


def clean(cfg: Config) -> list:
    """Images as they are."""
    return [Part('clean', 'clean', _tested(cfg))]


def _attacked(cfg: Config, name: str, strengths, group=None, **attack) -> list:
    group = group or name
    return [Part(f'{name}/{eps:g}', group, _tested(cfg), float(eps), dict(attack, eps=float(eps))) for eps in strengths]


def white_box(cfg: Config) -> list:
    """FGSM, PGD with cross-entropy and with the margin loss and restarts, in L-inf; PGD in L2."""
    return [
        *_attacked(cfg, 'fgsm', EPS, 'FGSM', type='fgsm'),
        *_attacked(cfg, 'pgd', EPS, 'PGD-20', type='pgd', steps=20),
        *_attacked(
            cfg, 'margin', EPS, 'PGD-20, margin loss, 3 starts', type='pgd', steps=20, loss='margin', restarts=3
        ),
        *_attacked(cfg, 'l2', (0.25, 0.5, 1.0), 'PGD-20 in L2', type='pgd', steps=20, norm='l2'),
    ]


def auto_attack(cfg: Config) -> list:
    """The standard version of AutoAttack, by the package pyautoattack."""
    return _attacked(cfg, 'autoattack', (1, 4), 'AutoAttack', type='autoattack')


def _encoder(dataset: dict, kind: str, group: str, measure: str, seeded=False) -> list:
    return [
        Part(
            f'{kind}/{eps}',
            group,
            deepcopy(dataset),
            float(eps),
            dict(type=kind, eps=float(eps), steps=20),
            dict(type='EncoderMetric'),
            measure=measure,
            seeded=seeded,
        )
        for eps in EPS
    ]


def encoder(cfg: Config) -> list:
    """The feature attack, which knows neither head nor labels: accuracy under it, and how far the features move."""
    return [
        *_attacked(cfg, 'feature-attack', EPS, 'Feature attack', type='feature', steps=20),
        *_encoder(_tested(cfg), 'features', 'Features moved', 'distance, %'),
    ]


def pretrained_encoder(cfg: Config) -> list:
    """Feature and reconstruction attack on a pre-training model, on its test images or else its training images."""
    loader = cfg.get('test_dataloader') or cfg.train_dataloader
    dataset = loader.dataset.to_dict()
    return [
        *_encoder(dataset, 'features', 'Features moved', 'distance, %', seeded=True),
        *_encoder(dataset, 'reconstruction', 'Reconstruction attack', 'reconstruction loss', seeded=True),
    ]


def corruptions(cfg: Config, severities=SEVERITIES) -> list:
    """The 15 corruptions of ImageNet-C, made on the fly of the config's own test images."""
    functions()  # An error where the package is missing.
    parts = []
    for name in CORRUPTIONS:
        for severity in severities:
            dataset = _tested(cfg)
            dataset['pipeline'] = corrupted(dataset['pipeline'], name, severity)
            parts.append(Part(f'{name}/{severity}', 'corruptions', dataset, float(severity)))
    return parts


def demo(cfg: Config) -> list:
    """A minute's worth: clean, FGSM, PGD, and each corruption at severity 3."""
    return [
        *clean(cfg),
        *_attacked(cfg, 'fgsm', (2, 4, 8), 'FGSM', type='fgsm'),
        *_attacked(cfg, 'pgd', (2, 4, 8), 'PGD-10', type='pgd', steps=10),
        *corruptions(cfg, severities=(3,)),
    ]


# Name, folder below --data-root, class of the data set, metric.
SHIFTED = (
    ('imagenet-v2', 'ImageNetV2', 'CorrectMetric'),
    ('imagenet-real', 'ImageNetReaL', 'RealAccuracy'),
    ('imagenet-a', 'ImageNetA', 'SubsetAccuracy'),
    ('imagenet-r', 'ImageNetR', 'SubsetAccuracy'),
    ('imagenet-sketch', 'ImageNetSketch', 'CorrectMetric'),
    ('imagenet-stylized', 'StylizedImageNet', 'CorrectMetric'),
    ('objectnet', 'ObjectNet', 'SubsetAccuracy'),
)


def shift(cfg: Config, root: str) -> list:
    """ImageNet-V2, ReaL, A, R, Sketch, Stylized and ObjectNet: each in a folder of its name below ``root``."""
    pipeline = _tested(cfg)['pipeline']
    return [
        Part(
            name,
            'distribution shift',
            dict(type=kind, data_root=f'{root}/{name}', pipeline=deepcopy(pipeline)),
            metric=dict(type=metric),
        )
        for name, kind, metric in SHIFTED
    ]


def imagenet_c(cfg: Config, root: str) -> list:
    """ImageNet-C from disk, ``root/imagenet-c/<corruption>/<severity>/<wnid>``, whose images keep their size."""
    pipeline = native_size(_tested(cfg)['pipeline'])
    return [
        Part(
            f'imagenet-c/{name}/{severity}',
            'corruptions',
            dict(
                type='ImageNetC',
                data_root=f'{root}/imagenet-c',
                corruption=name,
                severity=severity,
                pipeline=deepcopy(pipeline),
            ),
            float(severity),
        )
        for name in CORRUPTIONS
        for severity in SEVERITIES
    ]


def _detected(cfg: Config, name: str, group: str, dataset: dict, strength=0.0) -> Part:
    """What mmdet's CocoMetric of the config says; ``CocoFigures`` is that metric, with its figures kept."""
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    found = [dict(one) for one in evaluators if str(one['type']).split('.')[-1] == 'CocoMetric']
    if not found:
        raise UserError(
            f'Robustness of detectors is measured by CocoMetric, but the test_evaluator is of type '
            f'{", ".join(str(one["type"]) for one in evaluators)}. Take a config with data in the format of COCO.'
        )
    kinds = found[0].get('metric', 'bbox')
    shown = tuple(f'{kind}_mAP' for kind in (kinds if isinstance(kinds, (list, tuple)) else [kinds]))
    metric = {**found[0], 'type': 'CocoFigures', 'prefix': None, 'format_only': False, 'outfile_prefix': None}
    return Part(name, group, dataset, strength, metric=metric, measure='AP', shown=shown)


def clean_detection(cfg: Config) -> list:
    """Images as they are."""
    return [_detected(cfg, 'clean', 'clean', _tested(cfg))]


def detection_corruptions(cfg: Config) -> list:
    """COCO-C: the 15 corruptions at 5 severities, made on the fly of the config's own test images."""
    functions()
    parts = []
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            dataset = _tested(cfg)
            dataset['pipeline'] = corrupted_detection(dataset['pipeline'], name, severity)
            parts.append(_detected(cfg, f'{name}/{severity}', 'corruptions', dataset, float(severity)))
    return parts


SUITES = {
    'classifier': {
        'clean': clean,
        'white-box': white_box,
        'encoder': encoder,
        'autoattack': auto_attack,
        'corruptions': corruptions,
        'demo': demo,
    },
    'pre-training model': {'encoder': pretrained_encoder},
    'detector': {'clean': clean_detection, 'corruptions': detection_corruptions},
}
# Of classifiers only.
FROM_DISK = {'shift': shift, 'imagenet-c': imagenet_c}


def build_parts(names: list, kind: str, cfg: Config, root: str, *, quantize=False, limited=False) -> dict:
    """The parts of some suites by name; ``clean``, of classifiers and detectors, is the first.

    Args:
        names: Names of suites.
        kind: ``classifier``, ``pre-training model`` or ``detector``.
        cfg: Config of such a model.
        root: Folder of the test sets under distribution shift.
        quantize: Round attacked images to 8 bits, inside the budget.
        limited: Only a part of the images will be tested.

    Raises:
        UserError: An unknown name, one that is not for this kind of model, or a package is missing.
    """
    offered = {**SUITES[kind], **(FROM_DISK if kind == 'classifier' else {})}
    parts = []
    for name in names:
        if name not in {**SUITES['classifier'], **FROM_DISK}:
            raise unknown_name('suite', name, {**SUITES['classifier'], **FROM_DISK})
        if name not in offered:
            raise UserError(
                f'The suite {name} is not for a {kind}, as {cfg.model.type} is. Offered for one: --suite '
                f'{" or ".join(sorted(offered))}.'
            )
        parts += offered[name](cfg, root) if name in FROM_DISK else offered[name](cfg)
    if 'clean' in offered:
        parts = [*offered['clean'](cfg), *parts]
    if quantize:
        parts = [replace(part, quantize=True) if part.attack else part for part in parts]
    if kind == 'detector' and limited:
        parts = [replace(part, metric=dict(part.metric, part=True)) for part in parts]
    for part in parts:
        # AutoAttack may not be installed.
        if part.attack and part.attack['type'] not in ENCODER_ATTACKS:
            build_attack(part.attack)
    return {part.name: part for part in parts}
