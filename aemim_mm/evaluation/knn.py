"""The k-nearest-neighbour classifier as a model that tools/test.py runs, on one process or many."""

import torch
from mmengine.dist import all_gather
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import HOOKS, MODELS
from mmpretrain.structures import DataSample

from ..errors import UserError
from .probe import KNN


@MODELS.register_module()
class KNNClassifier(ImageClassifier):
    """A frozen encoder whose classes are those of the nearest training images; ``FeatureBankHook`` shows it those.

    Args:
        backbone, neck: They give one feature (B, C) for each image.
        k: Number of neighbours.
        temperature: A neighbour's vote weighs exp(cosine similarity / temperature).
        **kwargs: Of ``ImageClassifier``.

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """

    def __init__(self, backbone, neck=None, k=20, temperature=0.07, **kwargs):
        super().__init__(backbone, neck=neck, **kwargs)
        self.k, self.temperature = k, temperature
        self.knn = None

    @torch.no_grad()
    def remember(self, loader) -> None:
        """Fill the feature bank with all images of ``loader``; every process gets the whole bank."""
        self.eval()
        features, labels = [], []
        for step, batch in enumerate(loader, start=1):
            features.append(self.features(self.data_preprocessor(batch)['inputs']))
            labels.append(torch.cat([sample.gt_label for sample in batch['data_samples']]).to(features[-1].device))
            if step % 100 == 0 or step == len(loader):
                print_log(f'feature bank: batch {step} of {len(loader)}', logger='current')
        # The sampler deals images out in turn, and some twice at the end, so that all processes have as many.
        features, labels = (
            torch.stack(all_gather(torch.cat(part)), dim=1).flatten(0, 1)[: len(loader.dataset)]
            for part in (features, labels)
        )
        self.knn = KNN(features, labels, self.k, self.temperature)

    def features(self, inputs) -> torch.Tensor:
        """One feature for each image, (B, C), in float32."""
        return self.extract_feat(inputs)[-1].float()

    def predict(self, inputs, data_samples=None, **kwargs) -> list:
        """Data samples with each class's share of the votes as ``pred_score``."""
        scores = self.knn.scores(self.features(inputs))
        samples = data_samples or [DataSample() for _ in scores]
        for sample, score in zip(samples, scores):
            sample.set_pred_score(score).set_pred_label(score.argmax(dim=0, keepdim=True))
        return samples

    def loss(self, inputs, data_samples):
        """A k-nearest-neighbour classifier is not trained."""
        raise UserError('A k-NN classifier has nothing to train. Run tools/test.py with this config and a checkpoint.')


@HOOKS.register_module()
class FeatureBankHook(Hook):
    """Before the test, show the model of ``KNNClassifier`` the images of ``train_dataloader``."""

    def before_test(self, runner) -> None:
        try:
            loader = runner.build_dataloader(runner.cfg.train_dataloader, seed=runner.seed)
        except FileNotFoundError as error:
            raise UserError(
                f'The training images are missing: {error} A k-NN classifier needs them beside the test images.'
            ) from error
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.remember(loader)
