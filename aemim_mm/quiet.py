"""Drop false alarms that the mm* packages raise when they are imported."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

# Exact messages, printed, logged or warned. Each concerns a part of the mm* packages that this package does not use:
# data sets on the OneDL platform, a lane detector, deformable attention (absent, or moved), FasterCocoMetric.
# ``tools/doctor.py`` prints the truth about what is absent, from ``stack.py``.
FALSE_ALARMS = (
    'Could not import OneDL',
    'Could not import OneDL. Skipping OneDL datasets.',
    'Line NMS is not compiled. Most likely when installing the package cuda was not available.\n'
    'This model cannot work without CUDA, therefore you need to recompile the package with CUDA support.\n'
    'To make sure that the package is compiled with CUDA support use FORCE_CUDA=1 mim install -e .\n',
    'Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops.multi_scale_deform_attn``, You should install '
    '``mmcv`` rather than ``mmcv-lite`` if you need this module. ',
    '``MultiScaleDeformableAttention`` has been moved to ``mmcv.ops.multi_scale_deform_attn``, please change original '
    'path ``from mmcv.cnn.bricks.transformer import MultiScaleDeformableAttention`` to ``from '
    'mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention`` ',
    'faster_coco_eval is not installed, metrics will not be computed. Please install it by: mim install '
    'onedl-mmdetection[optional]',
)


@contextmanager
def without_false_alarms() -> Iterator[None]:
    """Import mm* packages inside: the messages above are dropped, and all others come through.

    The filters of warnings stay afterwards: ``warnings.catch_warnings`` would also undo filters that the packages set.
    """
    for message in FALSE_ALARMS:
        warnings.filterwarnings('ignore', re.escape(message) + r'\Z')

    from mmengine.logging import MMLogger, logger

    def show(message):
        if message not in FALSE_ALARMS:
            print(message)

    def passes(self, record):
        return record.getMessage() not in FALSE_ALARMS and logging.Filterer.filter(self, record)

    # ``logger`` is the module in which ``print_log`` calls ``print``.
    with patch.object(logger, 'print', show, create=True), patch.object(MMLogger, 'filter', passes):
        yield
