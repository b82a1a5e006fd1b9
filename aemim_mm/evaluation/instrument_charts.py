"""Charts and ranges of what ``InstrumentsHook`` logged."""

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path

from ..report import Chart, Curve
from ..report.scalars import read_scalars

# Title, caption, label of the y axis, names of figures and their curves, and whether the y axis is logarithmic.
CHARTS = (
    (
        'How far features move',
        'Under the attack of the training and under noise of the same size, within the adversarial domain, and between '
        'the domains, as a share of the spread of the features. An attack near the noise has gone stale.',
        'share of the spread',
        dict(moved_attack='attack', moved_noise='noise', domain_gap='gap of domains'),
        True,
    ),
    (
        'Balance of the two tasks',
        'The weighted adversarial loss over the clean one, and the attack over the noise of the chart above. The '
        'adversarial task dominates if the first is well above 1, unless the weight was chosen so.',
        'ratio',
        dict(loss_ratio='losses', attack_over_noise='attack over noise'),
        True,
    ),
    (
        'Effective rank of the features',
        'RankMe of the mean patch features of the frozen encoder, as a share of its greatest possible value. Near '
        'zero, the features have collapsed.',
        'share',
        dict(rank=''),
        False,
    ),
    (
        'k-NN during pre-training',
        'Accuracy of a k-nearest-neighbour classifier on the frozen encoder, on a small sample of the training images.',
        'top-1 in percent',
        dict(knn=''),
        False,
    ),
)


# A table of trainings. A cell is the range of a figure over the measurements.
RANGED = ('loss_ratio', 'attack_over_noise', 'moved_attack', 'domain_gap', 'adapter_drift', 'rank', 'knn')
RANGE_COLUMNS = {'training': '{name}', 'measurements': '{count}', **{f'`{name}`': f'{{{name}}}' for name in RANGED}}


def instruments_of(work_dir: Path) -> dict[str, tuple]:
    """Return what the hook logged in a training: name of a figure to (iterations, values)."""
    scalars = read_scalars(work_dir, 'instruments/loss_ratio') | read_scalars(work_dir, 'instruments/rank')
    prefix = 'instruments/'
    return {name[len(prefix) :]: scalars[name] for name in scalars if name.startswith(prefix)}


def instrument_charts(logged: Mapping[str, Mapping[str, tuple]]) -> list[Chart]:
    """Return charts; one without any figure is left out.

    Args:
        logged: Name of a training to its :func:`instruments_of`.
    """
    charts = []
    for title, caption, y_label, figures, log_y in CHARTS:
        curves = [
            Curve(', '.join(filter(None, (name, label))), *_points(scalars[figure], log_y))
            for name, scalars in logged.items()
            for figure, label in figures.items()
            if figure in scalars
        ]
        charts += [Chart(title, caption, 'iteration', y_label, curves, log_y)] if curves else []
    return charts


def ranges(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict]:
    """Return the rows of a table of ``RANGE_COLUMNS``.

    Args:
        values: Name of a training to its figures, each a list of values.
    """
    return {
        name: dict(
            count=max(map(len, figures.values())),
            **{each: _range(figures[each]) if each in figures else None for each in RANGED},
        )
        for name, figures in values.items()
    }


def _range(values: Sequence[float]) -> str:
    low, high = (f'{each(values):.3g}' for each in (min, max))
    return low if low == high else f'{low} to {high}'


def _points(scalar: tuple, log_y: bool) -> tuple[list, list]:
    """Leave a gap for what a logarithmic axis cannot show."""
    steps, values = scalar
    return list(steps), [nan if log_y and value <= 0 else value for value in values]
