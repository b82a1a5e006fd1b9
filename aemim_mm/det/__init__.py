"""Detection: everything that imports mmdet. A config asks for it with ``custom_imports``."""

from ..quiet import without_false_alarms
from .ops import install_stand_in

# Before mmdet, whose import needs operators.
install_stand_in()

with without_false_alarms():
    from .coco import SkippingCocoDataset
    from .layer_decay import BackboneLayerDecayConstructor
    from .robustness import CocoFigures
    from .vitdet import SimpleFeaturePyramid, ViTDet

__all__ = [
    'BackboneLayerDecayConstructor',
    'CocoFigures',
    'SimpleFeaturePyramid',
    'SkippingCocoDataset',
    'ViTDet',
    'install_stand_in',
]
