from .feature_bank import FeatureBankHook
from .freeze import FreezeHook
from .instruments import InstrumentsHook
from .panels import PanelHook
from .safe_checkpoint import SafeCheckpointHook
from .schedule_check import ScheduleCheckHook
from .unreadable import UnreadableImagesHook

__all__ = [
    'FeatureBankHook',
    'FreezeHook',
    'InstrumentsHook',
    'PanelHook',
    'SafeCheckpointHook',
    'ScheduleCheckHook',
    'UnreadableImagesHook',
]
