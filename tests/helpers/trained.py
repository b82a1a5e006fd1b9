"""Train a small classifier on embedded Fashion-MNIST within seconds, and return images to attack."""

from copy import deepcopy
from functools import lru_cache

import torch
from mmengine.model import BaseModule
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from aemim_mm.datasets import DemoFashionMNIST

NORMALIZE = dict(mean=[73.0], std=[90.0])


@MODELS.register_module()
class SmallConvNet(BaseModule):
    """Map 28 x 28 images to features (B, 32 * 7 * 7) by two strided convolutions with BatchNorm."""

    def __init__(self, channels=1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, x):
        return (self.layers(x),)


def classifier(channels=1, seed=0, normalize=None, classes=10, **changes):
    """Build a classifier with seeded weights, in training mode."""
    torch.manual_seed(seed)
    config = dict(
        backbone=SmallConvNet(channels),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=32 * 7 * 7),
        data_preprocessor=dict(num_classes=classes, **(NORMALIZE if normalize is None else normalize)),
    )
    model = ImageClassifier(**{**config, **changes})
    model.init_weights()
    model.train()  # mmpretrain's models return None
    return model


@lru_cache
def images_and_labels(split='test', count=500):
    """Return grey images, (N, 1, 28, 28) uint8, and classes, (N,)."""
    data = DemoFashionMNIST(split=split, limit=count, test_mode=True)
    items = [data.get_data_info(index) for index in range(len(data))]
    images = torch.stack([torch.as_tensor(item['img']).reshape(1, 28, 28).clone() for item in items])
    return images, torch.tensor([int(item['gt_label']) for item in items])


def batch(count=64, split='test'):
    """Return a batch as a data loader gives it to ``test_step``."""
    images, labels = images_and_labels(split, count)
    return dict(inputs=images.clone(), data_samples=[DataSample().set_gt_label(label) for label in labels])


def train(model, epochs=8, count=1000, lr=2e-3):
    """Train by Adam on the model's own loss, with a fixed seed. Return the model in eval mode."""
    images, labels = images_and_labels('train', count)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    torch.manual_seed(0)
    model.train()
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(50):
            samples = [DataSample().set_gt_label(label) for label in labels[index]]
            data = model.data_preprocessor(dict(inputs=images[index], data_samples=samples), True)
            loss = sum(value for name, value in model.loss(**data).items() if 'loss' in name)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    return model


@lru_cache
def _trained():
    with torch.random.fork_rng():
        return train(classifier())


def trained_classifier():
    """Return a copy of the trained classifier, in eval mode. Its accuracy is about 80 %."""
    return deepcopy(_trained())
