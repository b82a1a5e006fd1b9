"""MIM algorithms with adversarial examples. The method is ``adversarial_mim.py``: start reading there."""

from .adversarial_mim import AdversarialMIM, Attack, TwoPasses
from .cae import AECAE
from .cim import AECIM
from .hosts import AEEVA, AEMFF, AEMILAN, AEBEiT, AEiTPN, AEMaskFeat, AEMixMIM
from .ibot import AEIBOT
from .mae import AEHPM, AEMIM, AEMIMIR, PartialMAE
from .simmim import AESimMIM
from .spark import AESparK

__all__ = [
    'AEBEiT',
    'AECAE',
    'AECIM',
    'AEEVA',
    'AEHPM',
    'AEIBOT',
    'AEMFF',
    'AEMILAN',
    'AEMIM',
    'AEMIMIR',
    'AEMaskFeat',
    'AEMixMIM',
    'AESimMIM',
    'AESparK',
    'AEiTPN',
    'AdversarialMIM',
    'Attack',
    'PartialMAE',
    'TwoPasses',
]
