"""What tests share: tiny models, trained networks, runs of tools, processes, and small data sets."""

# It registers the models; and it drops false alarms of mmpretrain's first import, which would be errors here.
import aemim_mm  # noqa: F401
