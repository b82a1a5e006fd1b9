"""Install the stand-in for mmcv's operators before a test imports mmcv.ops or mmdet."""

import aemim_mm.det  # noqa: F401
