"""The table of the paper's claims: the verdicts, and the rows that it takes from the tables of studies."""

import claims
import pytest

from aemim_mm.report.table import markdown_table


@pytest.mark.parametrize(
    ('row', 'size', 'expected'),
    [
        (dict(verdict='better', visible=9.0), 0.5, 'seen'),
        (dict(verdict='more', visible=9.0), None, 'seen'),
        (dict(verdict='worse', visible=0.1), 0.5, 'opposite'),
        (dict(verdict='less', visible=0.1), None, 'opposite'),
        (dict(verdict='not seen', visible=0.4), 0.5, 'not seen'),
        (dict(verdict='not seen', visible=0.6), 0.5, 'too small to see'),
        (dict(verdict='not seen', visible=0.6), None, 'not seen'),
        (dict(verdict='no loss', visible=0.4), 0.5, 'not seen'),
    ],
)
def test_verdicts(row, size, expected):
    assert claims.verdict(row, size) == expected


def record(study, method, seed, accuracy):
    return dict(
        command=f'python tools/study.py configs/studies/{study}.py --only {method}-seed{seed} --lanes 0',
        seed=seed,
        values=dict(
            method=method,
            study=dict(methods=['exact', 'mae'], baseline='exact', primary='fine_tuned'),
            measures=dict(fine_tuned=accuracy),
        ),
    )


def test_a_row_is_that_of_its_study_with_the_baseline_of_the_claim(monkeypatch):
    wanted = claims.Claim(
        'A gain', 'points', 'some', 'this', claims._against('mae'), 'exact, fine-tuned (primary)', size=0.5
    )
    monkeypatch.setattr(claims, 'CLAIMS', [wanted])
    # The gains of the seeds are 1 and 3. The other study has the opposite.
    records = [record('this', 'exact', seed, 50 + gain) for seed, gain in enumerate((1, 3))]
    records += [record('this', 'mae', seed, 50) for seed in range(2)]
    records += [record('other', 'mae', seed, 60) for seed in range(2)]
    (row,) = claims.claims(records).values()
    assert row['mean'] == pytest.approx(2) and row['pairs'] == 2
    assert row['claim_verdict'] == 'too small to see', 'two pairs see nothing'
    cells = [cell.strip() for cell in markdown_table({'A gain': row}, claims.COLUMNS).splitlines()[2].split('|')]
    assert cells[1:6] == ['A gain', 'points', 'some', '2', '+2.00']
    assert cells[9] == '`tools/study.py configs/studies/this.py`'
