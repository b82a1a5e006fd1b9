from .knn import FeatureBankHook, KNNClassifier
from .subsets import CorrectMetric, RealAccuracy, SubsetAccuracy

__all__ = [
    'CorrectMetric',
    'FeatureBankHook',
    'KNNClassifier',
    'RealAccuracy',
    'SubsetAccuracy',
]
