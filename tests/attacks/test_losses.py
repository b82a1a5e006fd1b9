"""Losses of attacks on classifiers against NumPy."""

import numpy as np
import pytest
import torch

from aemim_mm.attacks import LOSSES, classification_loss
from aemim_mm.errors import UserError

LOGITS = np.array([[1.0, 3.0, 2.0], [5.0, -1.0, 0.5], [0.0, 0.0, 0.0]])
LABELS = np.array([1, 2, 0])


def numpy_cross_entropy():
    return sum(np.log(np.exp(row).sum()) - row[label] for row, label in zip(LOGITS, LABELS))


# By hand: 2 - 3, 5 - 0.5, 0 - 0.
@pytest.mark.parametrize('name, expected', [('ce', numpy_cross_entropy()), ('margin', -1 + 4.5 + 0)])
def test_sums_over_the_batch(name, expected):
    got = classification_loss(name)(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert got.dtype == torch.float32 and got.item() == pytest.approx(expected, rel=1e-6)


def test_the_margin_has_a_gradient_where_cross_entropy_has_none():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    label = torch.tensor([0])
    zero, one = (torch.autograd.grad(classification_loss(name)(logits, label), logits)[0] for name in ('ce', 'margin'))
    assert not zero.any()
    assert one[0, 0] == -1 and one.sum() == 0


def test_an_unknown_name_lists_the_known_ones():
    assert set(LOSSES) == {'ce', 'margin'}
    with pytest.raises(UserError, match="loss 'dlr'. Known: ce, margin"):
        classification_loss('dlr')
