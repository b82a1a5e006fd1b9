"""What the runs of a study measure."""

from collections.abc import Mapping
from typing import NamedTuple


class Measure(NamedTuple):
    """A figure that runs of a study measure.

    Attributes:
        heading: Its name in tables. Its unit is percent, unless the heading says otherwise.
        figure: The figure of a network that it is: of a condition of ``aemim_mm.robustness``, or one of ``perform``.
            Empty: it is a probe.
        lower_is_better: Whether a lower figure is better.
    """

    heading: str
    figure: str = ''
    lower_is_better: bool = False


MEASURES = {
    'linear': Measure('linear probe'),
    'knn': Measure('20-NN'),
    'fine_tuned': Measure('fine-tuned', 'fine_tuned'),
    'pgd_2': Measure('PGD, eps 2', 'pgd/2'),
    'pgd_8': Measure('PGD, eps 8', 'pgd/8'),
    # The mean of the 15 corruptions.
    'corrupted': Measure('corrupted', 'corruptions'),
    'moved_2': Measure('features moved, eps 2', 'features/2/attack', lower_is_better=True),
    'moved_8': Measure('features moved, eps 8', 'features/8/attack', lower_is_better=True),
    'reconstruction_8': Measure('reconstruction loss, eps 8', 'reconstruction/8/attack', lower_is_better=True),
}


def measure_of(key: str) -> Measure:
    """Return the measure of a key in a record: a key of ``MEASURES``, for one of several networks with its name.

    Args:
        key: Such as ``pgd_8``, of the network of ``fine_tuning``; or ``PGD-AT/pgd_8``, of another.

    Raises:
        KeyError: The key is unknown.
    """
    network, _, name = key.rpartition('/')
    measure = MEASURES[name]
    return measure._replace(heading=f'{network}: {measure.heading}') if network else measure


def measures_among(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the measures among the figures of a network.

    Args:
        figures: Name to figure.
    """
    return {name: figures[measure.figure] for name, measure in MEASURES.items() if measure.figure in figures}
