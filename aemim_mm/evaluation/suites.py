"""What is measured under which name: suites of parts for tools/robustness.py."""

from copy import deepcopy

from mmengine.config import Config

from ..datasets.corruptions import CORRUPTIONS, SEVERITIES
from ..datasets.shift_pipelines import corrupted, native_size
from ..errors import one_of
from .robustness import Part

EPS = (1, 2, 4, 8)


def _tested(cfg: Config) -> dict:
    dataset = cfg.test_dataloader.dataset
    return dataset.to_dict() if hasattr(dataset, 'to_dict') else dict(dataset)


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


def corruptions(cfg: Config, severities=SEVERITIES) -> list:
    """The 15 corruptions of ImageNet-C, made on the fly of the config's own test images."""
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


SUITES = {
    'clean': clean,
    'white-box': white_box,
    'autoattack': auto_attack,
    'corruptions': corruptions,
    'demo': demo,
}
FROM_DISK = {'shift': shift, 'imagenet-c': imagenet_c}


def build_suite(name: str, cfg: Config, root: str) -> list:
    """The parts of a suite; ``clean`` is always the first.

    Args:
        name: A name in ``SUITES`` or ``FROM_DISK``.
        cfg: Config of a classifier.
        root: Folder of the test sets under distribution shift.

    Raises:
        UserError: An unknown name.
    """
    if name not in {**SUITES, **FROM_DISK}:
        raise one_of('suite', name, {**SUITES, **FROM_DISK})
    parts = FROM_DISK[name](cfg, root) if name in FROM_DISK else SUITES[name](cfg)
    return parts if parts[0].name == 'clean' else [*clean(cfg), *parts]
