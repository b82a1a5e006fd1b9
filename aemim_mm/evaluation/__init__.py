from .knn import KNNClassifier
from .subsets import CorrectMetric, RealAccuracy, SubsetAccuracy

__all__ = [
    'CorrectMetric',
    'KNNClassifier',
    'RealAccuracy',
    'SubsetAccuracy',
]
