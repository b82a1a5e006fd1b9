"""Measures of frozen features: k-nearest-neighbour and linear classification, and the effective rank."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from ..errors import UserError
from ..models.modes import evaluating

# Features (N, C) and labels (N,).
Labelled = tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def extract_features(model: Any, dataset: Any, batch_size: int = 256) -> Labelled:
    """Compute the mean over the patch tokens of a frozen encoder, for each image of a labelled data set.

    Args:
        model: As of :func:`mean_patch_features`.
        dataset: A data set of mmpretrain, with ``gt_label``.

    Returns:
        Features (N, C) and labels (N,).
    """
    features, labels = [], []
    with evaluating(model):
        for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=_collate):
            inputs = model.data_preprocessor(batch)['inputs']
            features.append(mean_patch_features(model, inputs))
            labels.append(torch.cat([sample.gt_label for sample in batch['data_samples']]))
    return torch.cat(features), torch.cat(labels)


def mean_patch_features(model: Any, inputs: torch.Tensor) -> torch.Tensor:
    """Compute the mean over the patch tokens of the encoder, float32 on the CPU.

    Args:
        model: A pre-training model of mmpretrain; ``extract_feat`` gives tokens (B, 1 + L, C), class token first, a map
            of the patches (B, C, H, W), or their mean (B, C). Of several layers, the last one counts.
        inputs: Normalised images, (B, C, H, W).

    Returns:
        Features (B, C).
    """
    outputs = model.extract_feat(inputs)
    # MAE's encoder also returns its mask, which has fewer dimensions.
    features = [one for one in outputs if one.ndim == outputs[0].ndim][-1].float().cpu()
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features[:, 1:].mean(dim=1) if features.ndim == 3 else features


def _collate(items):
    return dict(
        inputs=torch.stack([item['inputs'] for item in items]), data_samples=[item['data_samples'] for item in items]
    )


class KNN:
    """Weighted k-nearest-neighbour classifier under cosine similarity; the mean training feature is the origin.

    Args:
        features, labels: Training data, (N, C) and (N,).
        k: Number of neighbours.
        temperature: A neighbour's vote weighs exp(similarity / temperature).

    Raises:
        UserError: There are fewer than ``k`` features.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """

    def __init__(self, features: torch.Tensor, labels: torch.Tensor, k: int = 20, temperature: float = 0.07):
        if not 1 <= k <= len(features):
            raise UserError(f'k is from 1 to the number of training images, {len(features)}, but got {k}.')
        self.k, self.temperature, self.labels = k, temperature, labels
        self.center = features.mean(dim=0)
        self.features = F.normalize(features - self.center)
        self.classes = int(labels.max()) + 1

    def nearest(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the similarities of features (B, C) to their nearest training features, and their indices, (B, k)."""
        similarity, index = (F.normalize(queries - self.center) @ self.features.T).topk(self.k, dim=1)
        return similarity, index

    def scores(self, queries: torch.Tensor) -> torch.Tensor:
        """Compute each class's share of the votes, (B, classes), for features (B, C)."""
        similarity, index = self.nearest(queries)
        weights = (similarity / self.temperature).softmax(dim=1)
        return weights.new_zeros(len(queries), self.classes).scatter_add_(1, self.labels[index], weights)


def knn_accuracy(train: Labelled, test: Labelled, k: int = 20, temperature: float = 0.07) -> float:
    """Measure the top-1 accuracy of :class:`KNN` in percent.

    Args:
        train, test: Pairs of features (N, C) and labels (N,).
        k, temperature: As in :class:`KNN`.
    """
    queries, truth = test
    return _percent(KNN(*train, k, temperature).scores(queries).argmax(dim=1), truth)


def linear_probe_accuracy(train: Labelled, test: Labelled, weight_decay: float = 1e-3, iterations: int = 200) -> float:
    """Measure the top-1 accuracy of multinomial logistic regression on standardised features in percent.

    The features are standardised because MAE's linear probe has batch normalisation before the head. The result is
    deterministic.

    Args:
        train, test: Pairs of features (N, C) and labels (N,).
        weight_decay: Weight of the squared L2 norm of the weights in the objective.
        iterations: Maximum number of L-BFGS steps.
    """
    (features, labels), (queries, truth) = train, test
    deviation, mean = torch.std_mean(features, dim=0)
    features, queries = ((values - mean) / (deviation + 1e-6) for values in (features, queries))
    head = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=iterations, line_search_fn='strong_wolfe')

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features), labels) + weight_decay * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(step)
    with torch.no_grad():
        return _percent(head(queries).argmax(dim=1), truth)


def effective_rank(features: torch.Tensor) -> float:
    """Measure RankMe: the exponential of the entropy of the normalised singular values.

    Args:
        features: (N, C).

    Returns:
        From 1, if all features are multiples of one, to min(N, C).

    Source: Garrido et al., arXiv 2210.02885, eq. 1.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(1e-300) + 1e-7
    return float((-shares * shares.log()).sum().exp())


def _percent(predicted, truth) -> float:
    return (predicted == truth).float().mean().item() * 100
