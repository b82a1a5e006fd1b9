from .knn import FeatureBankHook, KNNClassifier

__all__ = ['FeatureBankHook', 'KNNClassifier']
