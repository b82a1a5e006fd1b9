from .balls import BALLS, STARTS, ball_around, l2_norm
from .budget import Budget, check_whole
from .distances import DISTANCES, feature_distance
from .ensemble import AttackResult, keep_first_success
from .gradients import gradients_of
from .losses import LOSSES, classification_loss
from .pgd import PGD, pgd
from .pixels import PIXEL_RANGE, PixelSpace, check_perturbs, check_pixels

__all__ = [
    'AttackResult',
    'BALLS',
    'Budget',
    'DISTANCES',
    'LOSSES',
    'PGD',
    'PIXEL_RANGE',
    'PixelSpace',
    'STARTS',
    'ball_around',
    'check_perturbs',
    'check_pixels',
    'check_whole',
    'classification_loss',
    'feature_distance',
    'gradients_of',
    'keep_first_success',
    'l2_norm',
    'pgd',
]
