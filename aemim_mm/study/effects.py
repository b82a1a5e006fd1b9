"""What attacks and noise do to a pre-training model: a table and charts, from records with the suite ``crossed``."""

from collections.abc import Sequence

import numpy as np

from ..report import Chart, Curve
from .statistics import paired_difference
from .tables import by_method, judge

PERTURBATIONS = {'noise': 'noise', 'features': 'feature attack', 'reconstruction': 'reconstruction attack'}
QUANTITIES = {'moved': 'features moved, %', 'loss': 'loss rises, %'}
COLUMNS = {
    'after, at eps': '{name}',
    f'{QUANTITIES["moved"]}: noise': '{moved_noise:.1f}',
    'feature attack': '{moved_features:.1f}',
    'reconstruction attack': '{moved_reconstruction:.1f}',
    f'{QUANTITIES["loss"]}: noise': '{loss_noise:+.2f}',
    'feature attack ': '{loss_features:+.2f}',
    'reconstruction attack ': '{loss_reconstruction:+.2f}',
    'feature attack less noise': '{mean:+.2f}',
    '95 % interval': '{low:+.2f} to {high:+.2f}',
    'visible': '{visible:.2f}',
    'p, Holm': '{p_holm:.3f}',
    'verdict': '{verdict}',
}
# The paper's budget, on the model that the pre-training ends with.
PRIMARY = 'pretrained', '2'


def effects(records: Sequence[dict], method: str) -> dict:
    """Return what each perturbation does to the features and to the reconstruction loss of a method's models.

    Args:
        records: Records of a study's runs.
        method: The method.

    Returns:
        Checkpoint and eps to the means over seeds, and the paired difference between the rises of the loss under the
        feature attack and under noise, in percentage points, adjusted for all rows. The row that decides is that of the
        pre-trained model at the paper's eps.
    """
    figures = [record['values']['figures'] for record in by_method(records)[method].values()]
    rows = {}
    for checkpoint, eps in _places(figures[0]):
        found: dict[str, list[float]] = {}
        for one in figures:
            for name, value in _effects(one, checkpoint, eps).items():
                found.setdefault(name, []).append(value)
        means = {name: float(np.mean(values)) for name, values in found.items()}
        difference = paired_difference(found['loss_features'], found['loss_noise'])._asdict()
        primary = ' (primary)' if (checkpoint, eps) == PRIMARY else ''
        rows[f'{checkpoint.replace("-", " ")}, {eps}{primary}'] = dict(
            difference, **means, checkpoint=checkpoint, eps=float(eps), lower_is_better=False, margin=None
        )
    judge(list(rows.values()))
    for row in rows.values():
        row['verdict'] = dict(better='more', worse='less').get(row['verdict'], row['verdict'])
    return rows


def chart(records: Sequence[dict], method: str, what: str) -> Chart:
    """Return a chart of what each perturbation does to a method's pre-trained models, over eps.

    Args:
        records: Records of a study's runs.
        method: The method.
        what: A key of ``QUANTITIES``.
    """
    rows = [row for row in effects(records, method).values() if row['checkpoint'] == 'pretrained']
    curves = [
        Curve(label, [row['eps'] for row in rows], [row[f'{what}_{name}'] for row in rows])
        for name, label in PERTURBATIONS.items()
    ]
    title = dict(moved='How far features move', loss='How much the reconstruction loss rises')[what]
    return Chart(title, f'Mean over {rows[0]["pairs"]} seeds.', 'eps, of 255', QUANTITIES[what], curves)


def _places(figures: dict) -> list[tuple[str, str]]:
    """Return the pairs of checkpoint and eps of a record, in their order."""
    keys = [key.split('/') for key in figures if '/crossed-features/' in key and key.endswith('/noise')]
    return [(checkpoint, eps) for checkpoint, _, eps, _ in keys]


def _effects(figures: dict, checkpoint: str, eps: str) -> dict[str, float]:
    """Return the effects in one run: distances in percent, and rises of the loss in percent of it."""

    def of(kind, figure):
        return figures[f'{checkpoint}/crossed-{kind}/{eps}/{figure}']

    before = of('reconstruction', 'before')
    losses = dict(noise='noise', features='crossed', reconstruction='attack')
    moves = dict(noise='noise', features='attack', reconstruction='crossed')
    return {
        **{f'moved_{name}': of('features', figure) for name, figure in moves.items()},
        **{f'loss_{name}': 100 * (of('reconstruction', figure) / before - 1) for name, figure in losses.items()},
    }
