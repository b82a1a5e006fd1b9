"""Feature distances against NumPy."""

import numpy as np
import pytest
import torch

from aemim_mm.attacks import DISTANCES, feature_distance
from aemim_mm.errors import UserError


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cosine_oracle(a, b):
    return (1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).sum()


ORACLES = {
    'l2': lambda a, b: ((a - b) ** 2).sum(),
    'l1': lambda a, b: np.abs(a - b).sum(),
    'cosine': cosine_oracle,
    'kl': lambda a, b: (softmax(b) * np.log(softmax(b) / softmax(a))).sum(),
}


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    return generator.normal(size=(3, 10, 8)), generator.normal(size=(3, 10, 8))


def test_every_distance_has_an_oracle():
    assert set(DISTANCES) == set(ORACLES)


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_tokens(name, pair):
    a, b = pair
    got = feature_distance(name)(torch.tensor(a).float(), torch.tensor(b).float())
    assert got.shape == () and got.dtype == torch.float32
    np.testing.assert_allclose(got, ORACLES[name](a, b), rtol=1e-5)


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_a_feature_map_gives_what_its_tokens_give(name, pair):
    a, b = (torch.tensor(x).float() for x in pair)
    as_map = [x.transpose(1, 2).reshape(3, 8, 2, 5) for x in (a, b)]
    torch.testing.assert_close(feature_distance(name)(*as_map), feature_distance(name)(a, b))


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_equal_features_are_at_distance_zero(name, pair):
    a = torch.tensor(pair[0]).float()
    assert feature_distance(name)(a, a).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_sums_over_the_batch(name, pair):
    a, b = (torch.tensor(x).float() for x in pair)
    one_by_one = sum(feature_distance(name)(a[i : i + 1], b[i : i + 1]) for i in range(3))
    torch.testing.assert_close(feature_distance(name)(a, b), one_by_one)


def test_bfloat16_features_are_summed_in_float32():
    # A bfloat16 sum of 2**14 ones stops growing at 256.
    ones = torch.ones(2, 64, 128, dtype=torch.bfloat16)
    distance = feature_distance('l2')(ones, torch.zeros_like(ones))
    assert distance.dtype == torch.float32 and distance == 2 * 64 * 128


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="distance 'l3'. Known: cosine, kl, l1, l2"):
        feature_distance('l3')


@pytest.mark.parametrize('name', sorted(ORACLES))
def test_pooled_and_per_image(name, pair):
    a, b = pair
    tensors = [torch.tensor(one) for one in pair]
    means = [one.mean(1, keepdims=True) for one in pair]
    pooled = feature_distance(name, pooled=True)
    assert pooled(*tensors).item() == pytest.approx(ORACLES[name](*means), rel=1e-5)
    as_maps = [one.mT.unflatten(2, (2, 5)) for one in tensors]
    torch.testing.assert_close(pooled(*as_maps), pooled(*tensors))
    per_image = feature_distance(name, per_image=True)(*tensors)
    expected = [ORACLES[name](a[i : i + 1], b[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(per_image.numpy(), expected, rtol=1e-5)
