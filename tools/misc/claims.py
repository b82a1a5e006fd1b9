"""What the paper claims, and what the studies in results/studies say about it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aemim_mm.study.effects import effects
from aemim_mm.study.tables import differences

COLUMNS = {
    'claim': '{name}',
    'test': '{test}',
    'data': '{data}',
    'pairs': '{pairs}',
    'difference': '{mean:+.2f}',
    '95 % interval': '{low:+.2f} to {high:+.2f}',
    'visible': '{visible:.2f}',
    'verdict': '{claim_verdict}',
    'command': '`{command}`',
}
SMALL = 'Fashion-MNIST, 4,000 images, 16 epochs'


@dataclass(frozen=True)
class Claim:
    """A claim, and the row of a study's table that tests it.

    Args:
        claim: What is claimed.
        test: What is compared, and the unit of the difference.
        data: Images and length of the pre-training.
        study: Name of the study.
        rows: Makes the rows of the table from the study's records.
        row: Name of the row.
        size: The difference that the claim speaks of, in the row's unit. A study that could not have seen it has no
            verdict on the claim. None: the claim names no size.
    """

    claim: str
    test: str
    data: str
    study: str
    rows: Callable[[Sequence[dict]], dict]
    row: str
    size: float | None = None


def _effects(method: str) -> Callable[[Sequence[dict]], dict]:
    return lambda records: effects(records, method)


def _against(baseline: str) -> Callable[[Sequence[dict]], dict]:
    return lambda records: differences(records, baseline)


CLAIMS = (
    Claim(
        'The feature attack hurts reconstruction more than noise of the same size',
        "rise of MAE's loss at eps 2, percent of it",
        SMALL,
        'attack-effects',
        _effects('mae'),
        'pretrained, 2 (primary)',
    ),
    Claim(
        'The same, at eps 8',
        "rise of MAE's loss at eps 8, percent of it",
        SMALL,
        'attack-effects',
        _effects('mae'),
        'pretrained, 8',
    ),
    Claim(
        "The same, of AEMIM's own encoder",
        "rise of AEMIM's loss at eps 2, percent of it",
        SMALL,
        'attack-effects',
        _effects('aemim'),
        'pretrained, 2 (primary)',
    ),
    Claim(
        'AEMIM improves fine-tuning, by 0.5 points',
        'AEMIM (eps 2) less MAE, fine-tuned with 500 labels, points',
        SMALL,
        'presets',
        _against('mae'),
        'exact, fine-tuned (primary)',
        size=0.5,
    ),
    Claim(
        'AEMIM improves accuracy out of distribution',
        'AEMIM (eps 2) less MAE, 15 corruptions, points',
        SMALL,
        'presets',
        _against('mae'),
        'exact, corrupted',
    ),
)


def claims(records: Sequence[dict]) -> dict:
    """Return the rows of the table of ``COLUMNS``: each claim, with the difference that tests it and the verdict.

    Args:
        records: The records of all studies.
    """
    studies: dict[str, list[dict]] = {}
    for record in records:
        # Such as: python tools/study.py configs/studies/presets.py --only exact-seed0 --lanes 0
        studies.setdefault(Path(shlex.split(record['command'])[2]).stem, []).append(record)
    rows = {}
    for claim in CLAIMS:
        found = claim.rows(studies[claim.study])[claim.row]
        command = f'tools/study.py configs/studies/{claim.study}.py'
        rows[claim.claim] = dict(
            found, test=claim.test, data=claim.data, command=command, claim_verdict=verdict(found, claim.size)
        )
    return rows


def verdict(row: dict, size: float | None = None) -> str:
    """Return ``seen``, ``opposite``, ``not seen`` or ``too small to see``.

    Args:
        row: A row of a table of :func:`differences` or :func:`effects`.
        size: As of ``Claim``.
    """
    said = dict(better='seen', more='seen', worse='opposite', less='opposite').get(row['verdict'], 'not seen')
    return 'too small to see' if said == 'not seen' and size is not None and row['visible'] > size else said
