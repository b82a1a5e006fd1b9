from .adversarial_training import AdversarialClassifier
from .algorithms import (
    AECAE,
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
from .baselines import HPM, IBOT, MIMIR, HPMDecoder, HPMHead, IBOTHead
from .cross_decoder import AEMIMCrossDecoder
from .diagnosis import NonFiniteLossError
from .mae_parts import AEMIMDecoder, AEMIMHead, HiViTDecoder
from .simmim_vit import SimMIMViT
from .vit import AEMIMViT

__all__ = [
    'AEBEiT',
    'AECAE',
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
    'HPM',
    'HPMDecoder',
    'HPMHead',
    'HiViTDecoder',
    'IBOT',
    'IBOTHead',
    'MIMIR',
    'NonFiniteLossError',
    'PartialMAE',
    'SimMIMViT',
]
