"""Accuracy under attack, corruption and shift. Registers ``AttackedModel`` and ``RobustAccuracy``."""

from .attacked_classifier import AttackedModel, RobustAccuracy

__all__ = ['AttackedModel', 'RobustAccuracy']
