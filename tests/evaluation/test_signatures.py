"""Each signature of a failure is on one side of its limit, and says what to change."""

import pytest

from aemim_mm.errors import UserError
from aemim_mm.evaluation.signatures import SIGNATURES, shown_by, signatures_with

# As in the middle of the demo's training.
HEALTHY = dict(
    loss_ratio=1.17,
    loss_ratio_unweighted=1.17,
    moved_noise=0.0094,
    moved_attack=0.058,
    attack_over_noise=6.1,
    domain_gap=0.011,
    adapter_drift=0.0014,
    rank=0.16,
    knn=50.8,
    knn_drop=0.0,
)


@pytest.mark.parametrize(
    ('name', 'figure', 'wrong', 'field'),
    [
        ('dominance', 'loss_ratio', 58, 'adv_weight'),
        ('easy_attack', 'loss_ratio_unweighted', 0.5, 'adv_weight'),
        ('stale', 'attack_over_noise', 1.0, 'steps'),
        ('small_budget', 'moved_attack', 0.006, 'eps'),
        ('large_budget', 'moved_attack', 1.4, 'eps'),
        ('parted_domains', 'domain_gap', 1.2, 'adapters'),
        ('drifted_adapters', 'adapter_drift', 1.5, 'adapters'),
        ('collapse', 'rank', 0.005, 'learning rate'),
        ('forgetting', 'knn_drop', 20, 'checkpoint'),
    ],
)
def test_one_figure_shows_one_signature(name, figure, wrong, field):
    assert set(SIGNATURES) >= {name} and not any(one.shows(HEALTHY) for one in SIGNATURES.values())
    for value in (wrong, float('nan')):
        figures = {**HEALTHY, figure: value}
        shown = [other for other, one in SIGNATURES.items() if one.shows(figures)]
        assert name in shown and all(SIGNATURES[other].figure == figure for other in shown)
    said = SIGNATURES[name].said({figure: wrong})
    assert f'{wrong:g}' in said and field in said
    del figures[figure]
    assert not SIGNATURES[name].shows(figures)


def test_limits_of_ones_own():
    changed = signatures_with(dict(stale=7, dominance=None))
    assert changed['stale'].shows(HEALTHY) and not changed['dominance'].shows(dict(loss_ratio=1e9))
    assert changed['collapse'] == SIGNATURES['collapse'] and not SIGNATURES['stale'].shows(HEALTHY)
    with pytest.raises(UserError, match='thresholds.stale is a number'):
        signatures_with(dict(stale=True))


def test_a_stale_attack_explains_that_features_hardly_move():
    weak = {**HEALTHY, 'moved_attack': 0.01}
    assert shown_by(weak, SIGNATURES) == ['small_budget'] and shown_by(HEALTHY, SIGNATURES) == []
    assert shown_by({**weak, 'attack_over_noise': 1.0}, SIGNATURES) == ['stale']
