from .distances import DISTANCES, feature_distance
from .pgd import STARTS, pgd

__all__ = ['DISTANCES', 'STARTS', 'feature_distance', 'pgd']
