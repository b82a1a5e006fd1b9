"""Installs the stand-in for mmcv's operators, where it is needed, before a test imports mmcv.ops or mmdet."""

import aemim_mm.det  # noqa: F401
