"""Helpers of the tests: tiny models, trained networks, runs of tools, processes, and small data sets."""

from mmengine.config import config
from yapf.yapflib import yapf_api

# This registers the models, and drops false alarms of mmpretrain's first import, which would be errors here.
import aemim_mm  # noqa: F401


def _as_it_is(text: str, **_style) -> tuple:
    return text, True


# mmengine formats the config for the log, two files and each checkpoint, and yapf takes as long as a small training.
# In mmengine 0.10.7, the module of configs has the function; later, it takes it from yapf when it needs it.
for module in (yapf_api, config):
    module.FormatCode = _as_it_is
