from .adversarial_training import AdversarialClassifier
from .algorithms import AEMIM, AdversarialMIM, AESimMIM, PartialMAE
from .baselines import IBOT, IBOTHead
from .cross_decoder import AEMIMCrossDecoder
from .diagnosis import NonFiniteLossError
from .mae_parts import AEMIMDecoder, AEMIMHead
from .simmim_vit import SimMIMViT
from .vit import AEMIMViT

__all__ = [
    'AEMIM',
    'AEMIMCrossDecoder',
    'AEMIMDecoder',
    'AEMIMHead',
    'AEMIMViT',
    'AESimMIM',
    'AdversarialClassifier',
    'AdversarialMIM',
    'IBOT',
    'IBOTHead',
    'NonFiniteLossError',
    'PartialMAE',
    'SimMIMViT',
]
