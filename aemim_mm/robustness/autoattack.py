"""AutoAttack, the field's reference for robust accuracy, by the package ``pyautoattack``."""

import logging
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log

from ..attacks import Budget, check_whole
from ..errors import UserError, unknown_name
from .pixels import PixelClassifier

REQUIREMENT = 'pyautoattack>=0.2.0'
# The standard version. Each attack runs on the images that withstood the attacks before it.
STANDARD = ('apgd-ce', 'apgd-t', 'fab-t', 'square')
KNOWN = (*STANDARD, 'apgd-dlr', 'fab')
# The DLR loss compares the true logit with the first, the third and, in its targeted form, the fourth one.
LEAST_CLASSES = {'apgd-dlr': 3, 'apgd-t': 4}
# Target classes of apgd-t and fab-t in the standard version.
TARGETS = 9
NORMS: dict[str, Any] = {'linf': 'Linf', 'l2': 'L2'}


@dataclass(frozen=True)
class AutoAttack:
    """APGD-CE, targeted APGD-DLR, targeted FAB and Square, with the parameters of the standard version.

    Args:
        eps, norm: Budget, as in ``aemim_mm.attacks.Budget``: in pixels, 0-255, for ``linf``; in units of images from 0
            to 1 for ``l2``.
        attacks: Names of the attacks, in order. Default: the standard version, all four.
        steps: Number of steps of APGD and FAB.
        queries: Number of queries of Square.
        seed: Seed of the random starts.

    Raises:
        UserError: ``pyautoattack`` is not installed, or a value is out of its range.

    Source: Croce and Hein, arXiv 2003.01690.
    """

    eps: float
    norm: str = 'linf'
    attacks: tuple = STANDARD
    steps: int = 100
    queries: int = 5000
    seed: int = 0

    def __post_init__(self):
        if Budget(self.eps, self.norm).eps == 0:
            raise UserError('AutoAttack needs eps > 0, but got 0. For clean accuracy, run PGD with eps 0.')
        for name in self.attacks:
            if name not in KNOWN:
                raise unknown_name('attack of AutoAttack', name, KNOWN)
        for name in ('steps', 'queries'):
            check_whole(name, getattr(self, name), 1)
        _pyautoattack()

    @property
    def budget(self) -> Budget:
        """How far the attack may go."""
        return Budget(self.eps, self.norm)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attempts in reports."""
        return tuple(self.attacks)

    def check_classes(self, classes: int) -> None:
        """Raise a UserError if an attack is not defined for this number of classes."""
        for name in self.attacks:
            if classes < LEAST_CLASSES.get(name, 0):
                raise UserError(
                    f'{name} needs a classifier with at least {LEAST_CLASSES[name]} classes, but got {classes}. Set '
                    f'attacks={version_for(classes)[0]}.'
                )

    def attempts(self, classifier: PixelClassifier) -> list:
        """Return one function for each of ``names``, which maps images in pixels and labels to perturbed images.

        Args:
            classifier: A ``PixelClassifier``.
        """
        return [self._attempt(classifier, name) for name in self.attacks]

    def _attempt(self, classifier, name):
        def attack(x, labels):
            classes = classifier.logits(x[:1]).shape[1]
            self.check_classes(classes)
            with _quiet():
                x_adv, _ = self._library(classifier, name, classes, x.device).run_standard_evaluation(
                    x / 255, labels, batch_size=len(x)
                )
            return x_adv.detach() * 255

        return attack

    def _library(self, classifier, name, classes, device):
        """Build the library's object for one attack, with the parameters of the standard version."""
        attack = _pyautoattack().AutoAttack(
            classifier.unit_logits,
            norm=NORMS[self.norm],
            eps=self.budget.pixels / 255,
            seed=self.seed,
            device=device,
            version='custom',
            attacks=[name],
        )
        attack.apgd.n_restarts = attack.fab.n_restarts = 1
        attack.apgd.n_iter = attack.apgd_targeted.n_iter = attack.fab.n_iter = self.steps
        attack.square.n_queries = self.queries
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(TARGETS, classes - 1)
        return attack


def version_for(classes: int | None) -> tuple[tuple[str, ...], str]:
    """Return the attacks of the standard version that a classifier allows, and how they differ from it.

    Args:
        classes: Number of classes; None if it is not known.

    Returns:
        Names of attacks, and one sentence, which is empty for the standard version.
    """
    if classes is None or classes > TARGETS:
        return STANDARD, ''
    note = f'AutoAttack on {classes} classes is not the standard version'
    if classes >= LEAST_CLASSES['apgd-t']:
        return STANDARD, f'{note}: apgd-t and fab-t have {classes - 1} target classes instead of {TARGETS}.'
    dlr = ('apgd-dlr',) if classes >= LEAST_CLASSES['apgd-dlr'] else ()
    attacks = ('apgd-ce', *dlr, 'fab-t', 'square')
    return attacks, f'{note}: it runs {", ".join(attacks)}, since apgd-t needs {LEAST_CLASSES["apgd-t"]} classes.'


def available() -> bool:
    """Whether ``pyautoattack`` is installed."""
    try:
        _pyautoattack()
    except UserError:
        return False
    return True


def _pyautoattack():
    try:
        import pyautoattack
    except ImportError as error:
        raise UserError(
            f"AutoAttack needs the package pyautoattack, which is not installed. Run: pip install '{REQUIREMENT}', or "
            "pip install 'aemim-mm[robustness]'."
        ) from error
    return pyautoattack


class _Once(logging.Filter):
    """Pass each kind of warning to the log of the run once; the library repeats its warnings at each batch."""

    said: set = set()

    def filter(self, record):
        message = record.getMessage()
        kind = re.sub(r'[\d.]+', '', message)
        if record.levelno >= logging.WARNING and kind not in self.said:
            self.said.add(kind)
            print_log(f'AutoAttack: {message}', logger='current', level=logging.WARNING)
        return False


@contextmanager
def _quiet():
    """Send the library's warnings to the log of the run, each once, and restore the trace function it removes."""
    logger, once, trace = logging.getLogger('auto-attack'), _Once(), sys.gettrace()
    logger.addFilter(once)
    try:
        yield
    finally:
        logger.removeFilter(once)
        sys.settrace(trace)
