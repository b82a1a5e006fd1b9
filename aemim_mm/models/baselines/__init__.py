"""Pre-training methods that mmpretrain lacks."""

from .cim import CIM
from .cim_heads import ResPixHead, RevDetHead
from .corruption import CIMGenerator, Corrupter
from .dalle import DALLEDecoder, DALLETokenizer
from .hpm import HPM
from .hpm_parts import HPMDecoder, HPMHead
from .ibot import IBOT
from .ibot_head import IBOTHead
from .mimir import MIMIR
from .tokenizer import Tokenizer, VQTokenizer

__all__ = [
    'CIM',
    'HPM',
    'IBOT',
    'MIMIR',
    'CIMGenerator',
    'Corrupter',
    'DALLEDecoder',
    'DALLETokenizer',
    'HPMDecoder',
    'HPMHead',
    'IBOTHead',
    'ResPixHead',
    'RevDetHead',
    'Tokenizer',
    'VQTokenizer',
]
