"""Pre-training methods that mmpretrain lacks."""

from .cim import CIM
from .cim_heads import ResPixHead, RevDetHead
from .corruption import CIMGenerator, Corrupter
from .dalle import DALLEDecoder, DALLETokenizer
from .ibot import IBOT
from .ibot_head import IBOTHead
from .tokenizer import Tokenizer, VQTokenizer

__all__ = [
    'CIM',
    'IBOT',
    'CIMGenerator',
    'Corrupter',
    'DALLEDecoder',
    'DALLETokenizer',
    'IBOTHead',
    'ResPixHead',
    'RevDetHead',
    'Tokenizer',
    'VQTokenizer',
]
