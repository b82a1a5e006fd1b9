"""Accuracy under attack, corruption and shift. Registers ``AttackedModel`` and ``RobustAccuracy``."""

from .attacked_classifier import AttackedModel, RobustAccuracy
from .measurement import measure

__all__ = ['AttackedModel', 'RobustAccuracy', 'measure']
