from .feature_bank import FeatureBankHook
from .freeze import FreezeHook
from .panels import PanelHook
from .safe_checkpoint import SafeCheckpointHook
from .schedule_check import ScheduleCheckHook
from .unreadable import UnreadableImagesHook

__all__ = [
    'FeatureBankHook',
    'FreezeHook',
    'PanelHook',
    'SafeCheckpointHook',
    'ScheduleCheckHook',
    'UnreadableImagesHook',
]
