from .feature_bank import FeatureBankHook
from .panels import PanelHook
from .safe_checkpoint import SafeCheckpointHook
from .schedule_check import ScheduleCheckHook
from .unreadable import UnreadableImagesHook

__all__ = ['FeatureBankHook', 'PanelHook', 'SafeCheckpointHook', 'ScheduleCheckHook', 'UnreadableImagesHook']
