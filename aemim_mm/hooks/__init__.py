from .panels import PanelHook
from .unreadable import UnreadableImagesHook

__all__ = ['PanelHook', 'UnreadableImagesHook']
