"""Helpers of the tests: tiny models, trained networks, runs of tools, processes, and small data sets."""

# This registers the models, and drops false alarms of mmpretrain's first import, which would be errors here.
import aemim_mm  # noqa: F401
