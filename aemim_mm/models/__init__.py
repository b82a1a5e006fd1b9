from .adversarial_training import AdversarialClassifier
from .algorithms import (
    AECAE,
    AECIM,
    AEEVA,
    AEHPM,
    AEIBOT,
    AEMFF,
    AEMILAN,
    AEMIM,
    AEMIMIR,
    AdversarialMIM,
    AEBEiT,
    AEiTPN,
    AEMaskFeat,
    AEMixMIM,
    AESimMIM,
    AESparK,
    PartialMAE,
)
from .baselines import CIM, HPM, IBOT, MIMIR, DALLETokenizer, HPMDecoder, HPMHead, IBOTHead, VQTokenizer
from .cross_decoder import AEMIMCrossDecoder
from .diagnosis import NonFiniteLossError
from .mae_parts import AEMIMDecoder, AEMIMHead, HiViTDecoder
from .simmim_decoder import SimMIMDecoder
from .simmim_vit import SimMIMViT
from .vit import AEMIMViT

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
    'AEMIMCrossDecoder',
    'AEMIMDecoder',
    'AEMIMHead',
    'AEMIMIR',
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
    'HPM',
    'HPMDecoder',
    'HPMHead',
    'HiViTDecoder',
    'IBOT',
    'IBOTHead',
    'MIMIR',
    'NonFiniteLossError',
    'PartialMAE',
    'SimMIMDecoder',
    'SimMIMViT',
    'VQTokenizer',
]
