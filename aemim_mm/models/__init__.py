from .adversarial_training import AdversarialClassifier
from .algorithms import AEMIM, AdversarialMIM, AESimMIM, PartialMAE
from .diagnosis import NonFiniteLossError
from .mae_parts import AEMIMDecoder, AEMIMHead
from .simmim_vit import SimMIMViT
from .vit import AEMIMViT

__all__ = [
    'AEMIM',
    'AEMIMDecoder',
    'AEMIMHead',
    'AEMIMViT',
    'AESimMIM',
    'AdversarialClassifier',
    'AdversarialMIM',
    'NonFiniteLossError',
    'PartialMAE',
    'SimMIMViT',
]
