from .balls import BALLS, STARTS, ball_around, l2_norm
from .budget import Budget, check_pixels
from .distances import DISTANCES, feature_distance
from .ensemble import AttackResult, keep_first_success
from .losses import LOSSES, classification_loss
from .pgd import fgsm, pgd

__all__ = [
    'AttackResult',
    'BALLS',
    'Budget',
    'DISTANCES',
    'LOSSES',
    'STARTS',
    'ball_around',
    'check_pixels',
    'classification_loss',
    'feature_distance',
    'fgsm',
    'keep_first_success',
    'l2_norm',
    'pgd',
]
