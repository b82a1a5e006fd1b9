"""How good are frozen features? Two answers: their nearest neighbours, and a linear classifier on them."""

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from ..errors import UserError


@torch.no_grad()
def extract_features(model, dataset, batch_size: int = 256):
    """Mean over the patch tokens of a frozen encoder, for each image of a labelled data set.

    Args:
        model: A pre-training model of mmpretrain (``extract_feat`` gives tokens, (B, 1 + L, C), class token first).
        dataset: Its items are mmpretrain's, with ``gt_label``.

    Returns:
        Features (N, C) and labels (N,).
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    features, labels = [], []
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=_collate):
        inputs = model.data_preprocessor(batch)['inputs']
        tokens = model.extract_feat(inputs)[0]
        features.append(tokens[:, 1:].mean(dim=1).float().cpu())
        labels.append(torch.cat([sample.gt_label for sample in batch['data_samples']]))
    for module in training:  # Not model.train(): a part of the model may be in eval mode for good.
        module.training = True
    return torch.cat(features), torch.cat(labels)


def _collate(items):
    return dict(
        inputs=torch.stack([item['inputs'] for item in items]), data_samples=[item['data_samples'] for item in items]
    )


class KNN:
    """Weighted k-nearest-neighbour classifier under cosine similarity, of features moved to zero mean.

    Args:
        features, labels: Of the training data, (N, C) and (N,).
        k: Number of neighbours.
        temperature: A neighbour's vote weighs exp(similarity / temperature).

    Raises:
        UserError: There are fewer than ``k`` features.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """

    def __init__(self, features, labels, k: int = 20, temperature: float = 0.07):
        if not 1 <= k <= len(features):
            raise UserError(f'k is from 1 to the number of training images, {len(features)}, but got {k}.')
        self.k, self.temperature, self.labels = k, temperature, labels
        self.center = features.mean(dim=0)
        self.features = F.normalize(features - self.center)
        self.classes = int(labels.max()) + 1

    def scores(self, queries):
        """Each class's share of the votes, (B, classes), for features (B, C)."""
        nearest, index = (F.normalize(queries - self.center) @ self.features.T).topk(self.k, dim=1)
        weights = (nearest / self.temperature).softmax(dim=1)
        return weights.new_zeros(len(queries), self.classes).scatter_add_(1, self.labels[index], weights)


def knn_accuracy(train, test, k: int = 20, temperature: float = 0.07) -> float:
    """Top-1 of :class:`KNN`, in percent; ``train`` and ``test`` are features (N, C) and labels (N,)."""
    queries, truth = test
    return _percent(KNN(*train, k, temperature).scores(queries).argmax(dim=1), truth)


def linear_probe_accuracy(train, test, weight_decay: float = 1e-3, iterations: int = 200) -> float:
    """Top-1 of multinomial logistic regression on standardised features, in percent; deterministic.

    Standardising takes the place of the batch normalisation before the head in MAE's linear probe.

    Args:
        train, test: Features (N, C) and labels (N,).
        weight_decay: Of the squared L2 norm of the weights.
        iterations: At most so many steps of L-BFGS.
    """
    (features, labels), (queries, truth) = train, test
    deviation, mean = torch.std_mean(features, dim=0)
    features, queries = ((part - mean) / (deviation + 1e-6) for part in (features, queries))
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


def _percent(predicted, truth) -> float:
    return (predicted == truth).float().mean().item() * 100
