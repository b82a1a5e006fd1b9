from .adversarial_training import AdversarialClassifier
from .algorithms import (
    AECAE,
    AECIM,
    AEEVA,
    AEIBOT,
    AEMFF,
    AEMILAN,
    AEMIM,
    AdversarialMIM,
    AEBEiT,
    AEiTPN,
    AEMaskFeat,
    AEMixMIM,
    AESimMIM,
    AESparK,
    PartialMAE,
)
from .baselines import CIM, IBOT, DALLETokenizer, IBOTHead, VQTokenizer
from .cross_decoder import AEMIMCrossDecoder
from .diagnosis import NonFiniteLossError
from .mae_parts import AEMIMDecoder, AEMIMHead, HiViTDecoder
from .simmim_vit import SimMIMViT
from .vit import AEMIMViT

__all__ = [
    'AEBEiT',
    'AECAE',
    'AECIM',
    'AEEVA',
    'AEIBOT',
    'AEMFF',
    'AEMILAN',
    'AEMIM',
    'AEMIMCrossDecoder',
    'AEMIMDecoder',
    'AEMIMHead',
    'AEMIMViT',
    'AEMaskFeat',
    'AEMixMIM',
    'AESimMIM',
    'AESparK',
    'AEiTPN',
    'AdversarialClassifier',
    'AdversarialMIM',
    'CIM',
    'DALLETokenizer',
    'HiViTDecoder',
    'IBOT',
    'IBOTHead',
    'NonFiniteLossError',
    'PartialMAE',
    'SimMIMViT',
    'VQTokenizer',
]
