"""Everything that imports mmdet. Detection configs list this package in ``custom_imports``."""

from .ops import install_stand_in

# This has to precede the import of mmdet, which needs the operators.
install_stand_in()

from .coco import SkippingCocoDataset  # noqa: E402
from .layer_decay import BackboneLayerDecayConstructor  # noqa: E402
from .robustness import CocoFigures  # noqa: E402
from .vitdet import SimpleFeaturePyramid, ViTDet  # noqa: E402

__all__ = [
    'BackboneLayerDecayConstructor',
    'CocoFigures',
    'SimpleFeaturePyramid',
    'SkippingCocoDataset',
    'ViTDet',
    'install_stand_in',
]
