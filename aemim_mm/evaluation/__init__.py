from .attacked import AttackedModel, RobustAccuracy
from .knn import FeatureBankHook, KNNClassifier
from .subsets import CorrectMetric, RealAccuracy, SubsetAccuracy

__all__ = [
    'AttackedModel',
    'CorrectMetric',
    'FeatureBankHook',
    'KNNClassifier',
    'RealAccuracy',
    'RobustAccuracy',
    'SubsetAccuracy',
]
