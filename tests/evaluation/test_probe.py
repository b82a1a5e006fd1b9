"""The probes against brute force, and on data whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from aemim_mm.evaluation.probe import (
    effective_rank,
    extract_features,
    knn_accuracy,
    linear_probe_accuracy,
    mean_patch_features,
)


def blobs(count=60, spread=1.0, seed=0, classes=3):
    """Points around centres that do not depend on the seed, off the origin."""
    centres = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99)) + 5
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return centres[labels] + spread * torch.randn(count, 8, generator=generator), labels


def knn_by_hand(train, test, k, temperature):
    """Loops in NumPy, float64."""
    (features, labels), (queries, truth) = ((f.double().numpy(), y.numpy()) for f, y in (train, test))
    centre, right = features.mean(0), 0
    for query, answer in zip(queries - centre, truth):
        cosines = [query @ f / np.linalg.norm(query) / np.linalg.norm(f) for f in features - centre]
        votes = np.zeros(labels.max() + 1)
        for neighbour in np.argsort(cosines)[::-1][:k]:
            votes[labels[neighbour]] += np.exp(cosines[neighbour] / temperature)
        right += votes.argmax() == answer
    return 100 * right / len(truth)


@pytest.mark.parametrize(('k', 'temperature'), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 10.0)])
@pytest.mark.parametrize('spread', [0.8, 2.0])
def test_knn_equals_brute_force(k, temperature, spread):
    train, test = blobs(spread=spread), blobs(50, spread, seed=1)
    expected = knn_by_hand(train, test, k, temperature)
    assert knn_accuracy(train, test, k, temperature) == pytest.approx(expected, abs=1e-3)
    assert 30 < expected <= 100


def test_knn_of_the_training_data_by_one_neighbour_is_perfect():
    assert knn_accuracy(blobs(spread=9.0), blobs(spread=9.0), k=1) == 100


def test_linear_probe_is_perfect_on_separable_data():
    assert linear_probe_accuracy(blobs(spread=0.2), blobs(spread=0.2, seed=1)) == 100


def test_linear_probe_is_at_chance_on_noise():
    generator = torch.Generator().manual_seed(0)
    noise = [(torch.randn(2000, 8, generator=generator), torch.arange(2000) % 4) for _ in range(2)]
    # Four standard errors of 2,000 draws at 25 %.
    assert linear_probe_accuracy(*noise) == pytest.approx(25, abs=4)


def test_linear_probe_finds_the_optimum_of_its_objective():
    """Against plain gradient descent in float64: a convex problem has one answer."""
    (features, labels), test = blobs(spread=1.5), blobs(400, 1.5, seed=1)
    mean, deviation = features.double().mean(0), features.double().std(0)
    inputs, onehot = ((features - mean) / (deviation + 1e-6)).numpy(), np.eye(3)[labels]
    weight, bias = np.zeros((8, 3)), np.zeros(3)
    for _ in range(20000):
        logits = inputs @ weight + bias
        error = np.exp(logits - logits.max(1, keepdims=True))
        error = (error / error.sum(1, keepdims=True) - onehot) / len(inputs)
        weight, bias = weight - 0.5 * (inputs.T @ error + 2 * 1e-3 * weight), bias - 0.5 * error.sum(0)
    predicted = (((test[0] - mean) / (deviation + 1e-6)).numpy() @ weight + bias).argmax(1)
    expected = 100 * (predicted == test[1].numpy()).mean()
    # One of the 400 points may lie on the boundary.
    assert linear_probe_accuracy((features, labels), test) == pytest.approx(expected, abs=0.26)
    assert 50 < expected < 100


def test_linear_probe_is_deterministic_and_ignores_scale_and_offset():
    train, test = blobs(spread=1.5), blobs(100, 1.5, seed=1)
    moved = [(features * 100 + 7, labels) for features, labels in (train, test)]
    torch.manual_seed(1)
    first = linear_probe_accuracy(train, test)
    assert linear_probe_accuracy(train, test) == first
    assert linear_probe_accuracy(*moved) == pytest.approx(first, abs=1.01)


class Labelled(torch.utils.data.Dataset):
    def __init__(self, pixels):
        self.pixels = pixels.round().byte()

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return dict(inputs=self.pixels[index], data_samples=DataSample().set_gt_label(index % 3))


@pytest.mark.parametrize('make', ['aemim', 'mae'])
def test_features_are_the_mean_patch_tokens_of_the_clean_encoder(tiny, make):
    model = tiny.build(getattr(tiny, make)(backbone=dict(drop_rate=0.5), data_preprocessor=dict(to_rgb=True)))
    if make == 'aemim':
        tiny.part_domains(model)
    model.backbone.layers[0].eval()
    dataset = Labelled(tiny.pixels(5))
    before = tiny.snapshot(model)
    features, labels = extract_features(model, dataset, batch_size=2)
    tiny.assert_same_snapshot(tiny.snapshot(model), before)
    assert labels.tolist() == [0, 1, 2, 0, 1] and not features.requires_grad
    stock = tiny.build(
        dict(type='VisionTransformer', arch=tiny.ARCH, img_size=32, patch_size=8, out_type='raw'), init=False
    )
    state = {name: value for name, value in model.backbone.state_dict().items() if not name.endswith('_adv')}
    stock.load_state_dict(state)
    mean, std = (torch.tensor(tiny.NORMALIZE[name]).view(3, 1, 1) for name in ('mean', 'std'))
    images = (dataset.pixels.flip(1).float() - mean) / std
    stock.eval()
    with torch.no_grad():
        expected = stock(images)[0][:, 1:].mean(1)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('shape', [(40, 12), (12, 40)])
def test_effective_rank_equals_numpy(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -3, shape[1])
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    shares = values / values.sum() + 1e-7
    assert effective_rank(features) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert 2 < effective_rank(features) < 12


def test_effective_rank_where_it_is_known():
    """Orthogonal directions of equal length count fully; equal features are one direction; zeros are none."""
    assert effective_rank(torch.eye(20, 30)[:, torch.randperm(30)] * 5) == pytest.approx(20, rel=1e-4)
    assert effective_rank(torch.ones(20, 30)) == pytest.approx(1, rel=1e-3)
    assert effective_rank(torch.zeros(20, 30)) == pytest.approx(1, rel=1e-3)


def test_patch_features_of_other_encoders():
    """The last of several layers counts, a mask does not; maps and means of patches are taken as they are."""
    tokens, early = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    by_hand = tokens[:, 1:].mean(1)
    for outputs in ([early, tokens], [tokens, torch.ones(2, 4)], [tokens[:, 1:].mT.reshape(2, 3, 2, 2)], [by_hand]):
        model = SimpleNamespace(extract_feat=lambda _, outputs=outputs: tuple(outputs))
        torch.testing.assert_close(mean_patch_features(model, torch.zeros(2, 3, 8, 8)), by_hand)
