"""What the runs of a study measure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Measure(NamedTuple):
    """A figure that every run of a study measures, if the study has its suite.

    Attributes:
        heading: Its name in tables. Its unit is percent.
        suite: The suite of ``aemim_mm.robustness`` that measures it. None: it is measured without a suite.
        condition: The condition of the suite.
        lower_is_better: Whether a lower figure is better.
    """

    heading: str
    suite: str | None = None
    condition: str = ''
    lower_is_better: bool = False


MEASURES = {
    'linear': Measure('linear probe'),
    'knn': Measure('20-NN'),
    'fine_tuned': Measure('fine-tuned'),
    'pgd_2': Measure('PGD, eps 2', 'demo', 'pgd/2'),
    'pgd_8': Measure('PGD, eps 8', 'demo', 'pgd/8'),
    # The mean of the 15 corruptions.
    'corrupted': Measure('corrupted', 'demo', 'corruptions'),
    'moved_2': Measure('features moved, eps 2', 'encoder', 'features/2', lower_is_better=True),
    'moved_8': Measure('features moved, eps 8', 'encoder', 'features/8', lower_is_better=True),
}


def measured_by(suites: Sequence[str]) -> list[str]:
    """Return the keys of the ``MEASURES`` that a study with these suites has."""
    return [name for name, measure in MEASURES.items() if measure.suite is None or measure.suite in suites]


def of_conditions(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the measures that are figures of conditions.

    Args:
        figures: Name of a condition to its figure.
    """
    return {name: figures[measure.condition] for name, measure in MEASURES.items() if measure.condition in figures}
