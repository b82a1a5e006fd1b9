"""MIM algorithms with adversarial examples. The method is ``adversarial_mim.py``: start reading there."""

from .adversarial_mim import AdversarialMIM, Attack, TwoPasses
from .mae import AEMIM, PartialMAE
from .simmim import AESimMIM

__all__ = ['AEMIM', 'AESimMIM', 'AdversarialMIM', 'Attack', 'PartialMAE', 'TwoPasses']
