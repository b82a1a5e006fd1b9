"""Everything that imports mmdet. Detection configs list this package in ``custom_imports``."""

from ..quiet import without_false_alarms
from .ops import install_stand_in

# This has to precede the import of mmdet, which needs the operators.
install_stand_in()

with without_false_alarms():
    from .coco import CheckedCocoDataset, SkippingCocoDataset
    from .layer_decay import BackboneLayerDecayConstructor
    from .robustness import CocoFigures
    from .sizes import MatchAnnotatedSize
    from .vitdet import SimpleFeaturePyramid, ViTDet

__all__ = [
    'BackboneLayerDecayConstructor',
    'CheckedCocoDataset',
    'CocoFigures',
    'MatchAnnotatedSize',
    'SimpleFeaturePyramid',
    'SkippingCocoDataset',
    'ViTDet',
    'install_stand_in',
]
