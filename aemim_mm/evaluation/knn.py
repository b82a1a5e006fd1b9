"""The k-nearest-neighbour classifier as a model that tools/test.py runs, on one process or several."""

from typing import Any, NoReturn

import torch
from mmengine.dist import all_gather
from mmengine.logging import print_log
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from ..errors import UserError
from .probe import KNN


@MODELS.register_module()
class KNNClassifier(ImageClassifier):
    """A frozen encoder that classifies an image by the labels of the nearest training images.

    ``FeatureBankHook`` calls :meth:`remember` with the training images before the test.

    Args:
        backbone, neck: The encoder. Together, they give one feature (B, C) for each image.
        k: Number of neighbours, from 1 to the number of training images.
        temperature: A neighbour's vote weighs exp(cosine similarity / temperature).
        **kwargs: Arguments of ``ImageClassifier``.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """

    def __init__(self, backbone: dict, neck: dict | None = None, k: int = 20, temperature: float = 0.07, **kwargs):
        super().__init__(backbone, neck=neck, **kwargs)
        self.k, self.temperature = k, temperature
        self.knn: Any = None

    @torch.no_grad()
    def remember(self, loader: Any) -> None:
        """Fill the feature bank with all images of ``loader``. Every process gets the whole bank."""
        self.eval()
        features, labels = [], []
        for step, batch in enumerate(loader, start=1):
            features.append(self.features(self.data_preprocessor(batch)['inputs']))
            labels.append(torch.cat([sample.gt_label for sample in batch['data_samples']]).to(features[-1].device))
            if step % 100 == 0 or step == len(loader):
                print_log(f'feature bank: batch {step} of {len(loader)}', logger='current')
        # The sampler gives the processes images in turn. At the end, it repeats images until all processes have equally
        # many, so the repeated ones are cut off.
        features, labels = (
            torch.stack(all_gather(torch.cat(batches)), dim=1).flatten(0, 1)[: len(loader.dataset)]
            for batches in (features, labels)
        )
        self.knn = KNN(features, labels, self.k, self.temperature)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Encode normalised images (B, C, H, W) to one feature each, (B, C), float32."""
        return self.extract_feat(inputs)[-1].float()

    def predict(self, inputs: torch.Tensor, data_samples: list | None = None, **kwargs) -> list:
        """Write each class's share of the votes into the data samples, as ``pred_score``."""
        scores = self.knn.scores(self.features(inputs))
        samples = data_samples or [DataSample() for _ in scores]
        for sample, score in zip(samples, scores):
            sample.set_pred_score(score).set_pred_label(score.argmax(dim=0, keepdim=True))
        return samples

    def loss(self, inputs: torch.Tensor, data_samples: list) -> NoReturn:
        """Raise a UserError: a k-nearest-neighbour classifier has nothing to train."""
        raise UserError('A k-NN classifier has nothing to train. Run tools/test.py with this config and a checkpoint.')
