"""Suites: lists of conditions under which models are measured, by name."""

import fnmatch
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from mmengine.config import Config

from ..datasets.corruptions import CORRUPTIONS, SEVERITIES, functions
from ..datasets.shift_pipelines import corrupted, native_size
from ..errors import UserError, unknown_name
from .attacked_classifier import ATTACKS, build_attack
from .autoattack import version_for
from .carlini_wagner import with_options
from .conditions import EPS, Condition, images_of
from .detector_suites import DETECTOR_SUITES
from .encoder_suites import PRETRAINING_SUITES, encoder_conditions


def clean(cfg: Config) -> list:
    """The images of the config, without a perturbation."""
    return [Condition('clean', 'clean', images_of(cfg))]


def _attacked(cfg: Config, name: str, strengths, group=None, **attack) -> list:
    group = group or name
    return [
        Condition(f'{name}/{eps:g}', group, images_of(cfg), float(eps), dict(attack, eps=float(eps)))
        for eps in strengths
    ]


def white_box(cfg: Config) -> list:
    """In L-inf: FGSM, PGD with cross-entropy, PGD with the margin loss and restarts. In L2: PGD."""
    return [
        *_attacked(cfg, 'fgsm', EPS, 'FGSM', type='fgsm'),
        *_attacked(cfg, 'pgd', EPS, 'PGD-20', type='pgd', steps=20),
        *margin(cfg),
        *_attacked(cfg, 'l2', (0.25, 0.5, 1.0), 'PGD-20 in L2', type='pgd', steps=20, norm='l2'),
    ]


def margin(cfg: Config) -> list:
    """PGD in L-inf with the loss of Carlini and Wagner's attack."""
    group = 'PGD-20, margin loss, 3 starts'
    return _attacked(cfg, 'margin', EPS, group, type='pgd', steps=20, loss='margin', restarts=3)


def carlini_wagner(cfg: Config) -> list:
    """Carlini and Wagner's L2 attack, by the package foolbox, and PGD in L-inf with its loss."""
    attack, metric = dict(type='cw'), dict(type='MinimalDistance')
    measure = 'L2 for images from 0 to 1, accuracy in %'
    return [Condition('cw', 'CW', images_of(cfg), attack=attack, metric=metric, measure=measure), *margin(cfg)]


def auto_attack(cfg: Config) -> list:
    """The standard version of AutoAttack, by the package pyautoattack, as far as the number of classes allows it."""
    attacks, note = version_for((cfg.model.get('head') or {}).get('num_classes'))
    conditions = _attacked(cfg, 'autoattack', (1, 4), type='autoattack', attacks=attacks)
    return [replace(condition, group='AutoAttack', note=note) for condition in conditions]


def encoder(cfg: Config) -> list:
    """The feature attack, which uses neither head nor labels: accuracy under it, and how far the features move."""
    return [
        *_attacked(cfg, 'feature-attack', EPS, 'Feature attack', type='feature', steps=20),
        *encoder_conditions(images_of(cfg), 'features', EPS),
    ]


def corruptions(cfg: Config, severities: Sequence[int] = SEVERITIES) -> list:
    """The 15 corruptions of ImageNet-C, applied to the config's own test images when they are loaded."""
    functions()  # Raises a UserError if the package is missing.
    conditions = []
    for name in CORRUPTIONS:
        for severity in severities:
            dataset = images_of(cfg)
            dataset['pipeline'] = corrupted(dataset['pipeline'], name, severity)
            conditions.append(Condition(f'{name}/{severity}', 'corruptions', dataset, float(severity)))
    return conditions


def demo(cfg: Config) -> list:
    """A selection that takes about a minute in the demo: clean, FGSM, PGD, and each corruption at severity 3."""
    return [
        *clean(cfg),
        *_attacked(cfg, 'fgsm', (2, 4, 8), 'FGSM', type='fgsm'),
        *_attacked(cfg, 'pgd', (2, 4, 8), 'PGD-10', type='pgd', steps=10),
        *corruptions(cfg, severities=(3,)),
    ]


# Name of the condition and of its folder, class of the data set, metric.
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
    """ImageNet-V2, ReaL, A, R, Sketch, Stylized and ObjectNet, each in a folder of its name below ``root``."""
    pipeline = images_of(cfg)['pipeline']
    return [
        Condition(
            name,
            'distribution shift',
            dict(type=kind, data_root=f'{root}/{name}', pipeline=deepcopy(pipeline)),
            metric=dict(type=metric),
        )
        for name, kind, metric in SHIFTED
    ]


def imagenet_c(cfg: Config, root: str) -> list:
    """ImageNet-C from disk, ``root/imagenet-c/<corruption>/<severity>/<wnid>``; the images are not resized."""
    pipeline = native_size(images_of(cfg)['pipeline'])
    return [
        Condition(
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
    'classifier': {
        'clean': clean,
        'white-box': white_box,
        'encoder': encoder,
        'autoattack': auto_attack,
        'cw': carlini_wagner,
        'corruptions': corruptions,
        'demo': demo,
    },
    'pre-training model': PRETRAINING_SUITES,
    'detector': DETECTOR_SUITES,
}
# For classifiers only.
FROM_DISK = {'shift': shift, 'imagenet-c': imagenet_c}


def build_conditions(
    suites: Sequence[str],
    kind: str,
    cfg: Config,
    shift_root: str,
    *,
    quantize: bool = False,
    limited: bool = False,
    cw_options: Sequence[str] = (),
    only: Sequence[str] = (),
) -> dict[str, Condition]:
    """Build the conditions of some suites. The first condition of classifiers and detectors is always ``clean``.

    Args:
        suites: Names of suites.
        kind: ``classifier``, ``pre-training model`` or ``detector``.
        cfg: Config of a model of this kind.
        shift_root: Folder of the test sets under distribution shift.
        quantize: Round attacked images to 8 bits, inside the budget.
        limited: Whether only a sample of the images will be tested.
        cw_options: Fields of ``CarliniWagner``, each ``KEY=VALUE``.
        only: Patterns of names, such as ``pgd/4`` or ``*/3``: other conditions are left out, except ``clean``.

    Returns:
        Name to ``Condition``.

    Raises:
        UserError: An unknown suite, a suite that is not for this kind of model, a wrong option, a pattern that no name
            fits, or a package is missing.
    """
    offered = {**SUITES[kind], **(FROM_DISK if kind == 'classifier' else {})}
    conditions = []
    for name in suites:
        known = {name for suites in (*SUITES.values(), FROM_DISK) for name in suites}
        if name not in known:
            raise unknown_name('suite', name, known)
        if name not in offered:
            raise UserError(
                f'The suite {name} is not for a {kind}, as {cfg.model.type} is. Offered for one: --suite '
                f'{" or ".join(sorted(offered))}.'
            )
        conditions += offered[name](cfg, shift_root) if name in FROM_DISK else offered[name](cfg)
    if 'clean' in offered:
        conditions = [*offered['clean'](cfg), *conditions]
    conditions = with_options(conditions, cw_options)
    names = dict.fromkeys(condition.name for condition in conditions)
    for pattern in only:
        if not fnmatch.filter(names, pattern):
            raise UserError(f'No condition of these suites is called {pattern!r}. Known: {", ".join(names)}.')
    if only:
        chosen = {name for pattern in ('clean', *only) for name in fnmatch.filter(names, pattern)}
        conditions = [condition for condition in conditions if condition.name in chosen]
    if quantize:
        conditions = [replace(condition, quantize=True) if condition.attack else condition for condition in conditions]
    if kind == 'detector' and limited:
        conditions = [replace(condition, metric=dict(condition.metric, part=True)) for condition in conditions]
    for condition in conditions:
        # Building an attack checks its fields, and that AutoAttack is installed.
        if condition.attack and condition.attack['type'] in ATTACKS:
            build_attack(condition.attack)
    return {condition.name: condition for condition in conditions}
