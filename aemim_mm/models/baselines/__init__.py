"""Pre-training methods that mmpretrain lacks."""

from .ibot import IBOT
from .ibot_head import IBOTHead

__all__ = ['IBOT', 'IBOTHead']
