from .panels import PanelHook
from .safe_checkpoint import SafeCheckpointHook
from .unreadable import UnreadableImagesHook

__all__ = ['PanelHook', 'SafeCheckpointHook', 'UnreadableImagesHook']
