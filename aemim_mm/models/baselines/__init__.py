"""Pre-training methods that mmpretrain lacks."""

from .hpm import HPM
from .hpm_parts import HPMDecoder, HPMHead
from .ibot import IBOT
from .ibot_head import IBOTHead
from .mimir import MIMIR

__all__ = ['HPM', 'HPMDecoder', 'HPMHead', 'IBOT', 'IBOTHead', 'MIMIR']
